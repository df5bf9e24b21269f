"""Speech written down by models that are asked for it in words, which their processors put together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoProcessor

from modelyard.tasks.automatic_speech_recognition import TASK
from modelyard.tasks.model import Model
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask
from tests.builders.recordings import in_base64, noise, wav
from tests.coverage.architectures.building import build
from tests.coverage.cases import Case

pytestmark = pytest.mark.filterwarnings("ignore")
SOUND, OTHER = noise(1.1), noise(0.7, seed=1)
SHORT = {"max_new_tokens": 8, "do_sample": False}


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Model]:
    """The library's Qwen3-ASR, and ours: it is told the language and a prompt, and may tell the language itself."""
    folder = tmp_path_factory.mktemp("models") / "qwen3_asr"
    folder.mkdir()
    case = Case("architectures", "qwen3_asr", "Qwen3ASRForConditionalGeneration", "speech-seq2seq")
    return build(case, folder, "all"), load_model("transformers", folder, TASK.heads, device="cpu")


def body(sound: Any, **params: Any) -> Any:
    return {"base64": in_base64(wav(sound)), "params": {**SHORT, **params}}


@pytest.mark.parametrize("told", [{}, {"language": "de"}, {"prompt": "Angela"}, {"language": "German", "prompt": "x"}])
def test_request_is_the_processors(qwen: tuple[Any, Model], ask: Ask, told: dict[str, str]) -> None:
    library, model = qwen
    processor = AutoProcessor.from_pretrained(model.path)
    inputs = processor.apply_transcription_request(audio=[SOUND], **told)
    with torch.inference_mode():
        made = library.generate(**inputs, **SHORT)[:, inputs["input_ids"].shape[1] :]
    expected = processor.decode(made, return_format="transcription_only")[0]

    pieces: list[str] = []
    assert ask(TASK, model, body(SOUND, **told), emit=pieces.append) == expected == "".join(pieces)
    assert expected


def test_batch_answers_as_one_by_one(qwen: tuple[Any, Model], ask: Ask) -> None:
    _, model = qwen
    bodies = [body(sound) for sound in (SOUND, OTHER, SOUND)]
    assert ask(TASK, model, *bodies) == [ask(TASK, model, one) for one in bodies]


def test_what_a_model_does_not_read_is_named(qwen: tuple[Any, Model], ask: Ask) -> None:
    _, model = qwen
    for name, value in (("task", "translate"), ("return_timestamps", True), ("language", "xx")):
        assert ask(TASK, model, body(SOUND, **{name: value})).data["field"] == f"params.{name}"
