"""Speech written down along the sound, RNNT and TDT: words have the times that the library gives their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoProcessor

from modelyard.tasks.automatic_speech_recognition import TASK
from modelyard.tasks.model import Model
from modelyard.worker.runtimes.adapted_model import load_beside
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.transformers import TransformersModel
from tests.builders.adapters import make_adapter, merged, peft_config
from tests.builders.fixtures import Ask, MultiplyInTurns
from tests.builders.recordings import in_base64, noise, wav
from tests.coverage.architectures.building import build
from tests.coverage.cases import Case

pytestmark = pytest.mark.filterwarnings("ignore")
SOUND, OTHER = noise(1.1), noise(0.7, seed=1)
FAMILIES = {"parakeet_tdt": "ParakeetForTDT", "nemotron3_5_asr": "Nemotron3_5AsrForRNNT"}
HEADS = {"parakeet_tdt": "tdt", "nemotron3_5_asr": "rnnt"}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Model]:
    """The library's model, and ours."""
    name, folder = request.param, tmp_path_factory.mktemp("models") / request.param
    folder.mkdir()
    library = build(Case("architectures", name, FAMILIES[name], HEADS[name]), Path(folder), "all")
    if HEADS[name] == "tdt":  # a random one stays where it is
        library.joint.head.bias.data[library.config.vocab_size] = -100
        library.save_pretrained(folder)
    return library, load_model("transformers", folder, TASK.heads, device="cpu")


def body(sound: Any, **params: Any) -> Any:
    return {"base64": in_base64(wav(sound)), "params": params}


def test_words_begin_when_the_library_says_that_their_tokens_do(family: tuple[Any, Model], ask: Ask) -> None:
    library, model = family
    processor = AutoProcessor.from_pretrained(model.path)
    with torch.inference_mode():
        made = library.generate(**processor(SOUND, sampling_rate=16_000))
    (text,), (tokens,) = processor.decode(made.sequences, durations=made.durations, skip_special_tokens=True)

    answer = ask(TASK, model, body(SOUND, return_timestamps=True))

    assert answer["text"] == text
    assert "".join(chunk["text"] for chunk in answer["chunks"]).replace(" ", "") == text.replace(" ", "")
    begins = [chunk["timestamp"][0] for chunk in answer["chunks"]]
    assert begins[0] == pytest.approx(tokens[0]["start"])
    assert {round(begin, 6) for begin in begins} <= {round(token["start"], 6) for token in tokens}
    assert begins == sorted(begins)
    assert answer["chunks"][-1]["timestamp"][1] > begins[0]


def test_batches_and_streams_are_as_one_by_one(family: tuple[Any, Model], ask: Ask) -> None:
    _, model = family
    pieces: list[str] = []
    alone = [ask(TASK, model, body(sound), emit=pieces.append) for sound in (SOUND, OTHER, SOUND)]
    assert ask(TASK, model, body(SOUND), body(OTHER), body(SOUND)) == alone == pieces
    begun = ask(TASK, model, body(SOUND), cancelled=lambda: True)
    assert alone[0].startswith(begun)
    assert len(begun) < len(alone[0])


def test_what_is_heard_is_the_same_by_either_product(
    family: tuple[Any, Model], ask: Ask, multiply_in_turns: MultiplyInTurns
) -> None:
    _, model = family
    usual = ask(TASK, model, body(SOUND, return_timestamps=True))
    by_onednn = multiply_in_turns(model)
    assert ask(TASK, model, body(SOUND, return_timestamps=True)) == usual
    assert by_onednn


def test_an_adapter_beside_the_weights_hears_what_the_merged_model_hears(
    family: tuple[Any, Any], ask: Ask, tmp_path: Path
) -> None:
    library, model = family
    config = peft_config("LoraConfig", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    folder = make_adapter(model.path, tmp_path / "adapter", config, kind=type(library))
    whole = merged(model.path, folder, kind=type(library))
    expected: Any = TransformersModel(model.path, whole, model.tokenizer, model.processor)

    adapted: Any = load_beside(model, folder)()

    answers = [ask(TASK, each, body(SOUND)) for each in (adapted, expected, model)]
    assert answers[0] == answers[1] != answers[2]


def test_what_a_model_does_not_read_is_named(family: tuple[Any, Model], ask: Ask) -> None:
    _, model = family
    for name, value in (("prompt", "Angela"), ("task", "translate"), ("return_timestamps", "char"), ("language", "xx")):
        assert ask(TASK, model, body(SOUND, **{name: value})).data["field"] == f"params.{name}"
