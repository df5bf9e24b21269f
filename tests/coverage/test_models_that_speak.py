"""Models that hear, see and speak (Qwen-Omni): the part that writes answers about images and sounds alike."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from modelyard.catalog.inspection import inspect_folder
from modelyard.tasks.image_text_to_text import TASK
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask
from tests.coverage.architectures import references
from tests.coverage.architectures.building import build
from tests.coverage.cases import Case

pytestmark = pytest.mark.filterwarnings("ignore")
THINKER = Case(
    "architectures", "qwen2_5_omni_thinker", "Qwen2_5OmniThinkerForConditionalGeneration", "image-text-to-text"
)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The part that writes, by itself, and its class."""
    folder = tmp_path_factory.mktemp("models") / "thinker"
    folder.mkdir()
    return folder, type(build(THINKER, folder, "all"))


@pytest.fixture(scope="module")
def omni(thinker: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same inside of a whole model as it is published, but for the weights of the parts that speak."""
    source, target = thinker[0], tmp_path_factory.mktemp("models") / "omni"
    target.mkdir()
    for file in source.iterdir():
        if file.is_file() and file.suffix != ".safetensors":
            (target / file.name).write_bytes(file.read_bytes())
    weights = {f"thinker.{name}": value for name, value in load_file(source / "model.safetensors").items()}
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    config = {
        "architectures": ["Qwen2_5OmniModel"], "model_type": "qwen2_5_omni", "enable_audio_output": True,
        "thinker_config": json.loads((source / "config.json").read_text()),
    }  # fmt: skip
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_answer_is_the_librarys(thinker: tuple[Path, Any], omni: Path, ask: Ask, kind: str) -> None:
    expected = references.answer(f"{kind}-text-to-text", thinker[1], thinker[0])
    media = {"type": kind, "base64": base64.b64encode(references.MEDIA[kind]).decode()}
    content = [media, {"type": "text", "text": references.MESSAGE}]

    assert inspect_folder(omni).task == TASK.id
    model = load_model("transformers", omni, TASK.heads, device="cpu")
    answer = ask(TASK, model, {"messages": [{"role": "user", "content": content}], "params": references.GREEDY})

    assert answer["content"][0]["text"].strip() == expected
    assert expected
