"""Loads Stable Diffusion in one file, with a tokenizer beside it: writes down the configs that the library would fetch,
and has it read the file by them. Reads local files only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from safetensors import safe_open

from modelyard.errors import ModelRefused
from modelyard.records.checkpoints import (
    CLIP,
    TELLING,
    TOKENIZER_FOLDERS,
    XL_CLIP,
    find_checkpoint_pipeline,
    find_tokenizer_folder,
)
from modelyard.worker.runtimes.checkpoint_configs import (
    SCHEDULES,
    Shapes,
    find_kind,
    read_text_configs,
    read_unet_config,
    read_vae_config,
)
from modelyard.worker.runtimes.library_adapters import leave_peft_out_of_diffusers
from modelyard.worker.runtimes.library_logs import quiet_library

with quiet_library():  # which tells at length that there is no torchvision
    leave_peft_out_of_diffusers()
    import diffusers

PADDING = "!"
"""What fills up texts for OpenCLIP's encoders; OpenAI's are filled up with the end of a text."""


def find_checkpoint(path: Path) -> Path | None:
    """The one file of weights in the folder `path`, when nothing else says what it holds."""
    described = any((path / name).exists() for name in ("model_index.json", "config.json"))
    files = sorted(path.glob("*.safetensors"))
    return files[0] if len(files) == 1 and not described else None


def load_checkpoint(file: Path, dtype: torch.dtype) -> Any:
    """The library's pipeline with the weights in `file`, on the CPU.

    Raises ModelRefused when it is of a kind that is not read so, or has no tokenizer beside it, and what the library
    raises.
    """
    shapes = read_shapes(file)
    name = find_checkpoint_pipeline({key: shapes[key] for key in TELLING & shapes.keys()})
    if name is None:
        raise ModelRefused(f"{file.name} is a pipeline of a kind that is not read from one file.")
    texts = read_text_configs(shapes)
    tokenizers = load_tokenizers(file.parent, shapes, texts)
    parts = {"unet": read_unet_config(shapes), "vae": read_vae_config(shapes), **texts}
    for config in texts.values():  # a small vocabulary ends its texts with another token
        config |= {"eos_token_id": tokenizers["tokenizer"].eos_token_id}
    kind = getattr(diffusers, name)
    with TemporaryDirectory(prefix="checkpoint-") as folder:
        write_configs(Path(folder), name, parts)
        return kind.from_single_file(
            str(file),
            config=folder,
            dtype=dtype,
            local_files_only=True,
            scheduler=make_schedule(shapes),
            **tokenizers,
        )


def read_shapes(file: Path) -> Shapes:
    """The shape of each tensor."""
    with safe_open(file, framework="pt") as weights:
        return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118


def make_schedule(shapes: Shapes) -> Any:
    """As the kind was published."""
    config = dict(SCHEDULES[find_kind(shapes)])
    return getattr(diffusers, config.pop("_class_name"))(**config)


def load_tokenizers(path: Path, shapes: Shapes, texts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One for each text encoder, of one vocabulary; those of OpenCLIP's encoders are filled up with another token."""
    names = [folder + name for folder in TOKENIZER_FOLDERS for name in names_in(path / folder)]
    where = find_tokenizer_folder(names)
    if where is None:
        raise ModelRefused(f"{path.name} has no tokenizer (vocab.json and merges.txt) beside its weights.")
    made = {}
    for encoder, config in texts.items():
        by_openai = encoder == "text_encoder" and not shapes.keys().isdisjoint({CLIP, XL_CLIP})
        more = {} if by_openai else {"pad_token": PADDING}
        made[encoder.replace("text_encoder", "tokenizer")] = transformers.CLIPTokenizer.from_pretrained(
            path / where, local_files_only=True, model_max_length=config["max_position_embeddings"], **more
        )
    return made


def names_in(folder: Path) -> list[str]:
    """The names of the files in a folder that may not be there."""
    return [file.name for file in folder.iterdir()] if folder.is_dir() else []


def write_configs(folder: Path, name: str, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """The list of the pipeline's parts, and the config of each that has weights, as a repository would hold them."""
    classes = {"text_encoder": ["transformers", "CLIPTextModel"]}
    classes |= {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}
    index = {part: classes.get(part) or ["diffusers", config["_class_name"]] for part, config in parts.items()}
    index["scheduler"] = ["diffusers", "SchedulerMixin"]
    index |= {
        part.replace("text_encoder", "tokenizer"): ["transformers", "CLIPTokenizer"]
        for part in parts
        if part in classes
    }
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name, **index}), encoding="utf-8")
    for part, config in parts.items():
        (folder / part).mkdir()
        (folder / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
