from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoFeatureExtractor

from modelyard.errors import InvalidRequest
from modelyard.tasks.audio_classification import TASK
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import in_base64, noise, wav
from tests.builders.reference import library_model

FAMILIES = {"wav2vec2_classifier": 16_000, "ast_classifier": 8_000}
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def model(load: Load, family: str) -> Model:
    return load(family, "audio-classification")


def body(seconds: Any, rate: Any, seed: int = 0, **params: Any) -> Any:
    return {"base64": in_base64(wav(noise(seconds, rate, seed), rate)), "params": params}


def reference(model: Model, sound: Any, rate: Any) -> Any:
    """Label → score by the library alone."""
    library = library_model("AutoModelForAudioClassification", model.path)
    inputs = AutoFeatureExtractor.from_pretrained(model.path)(sound, sampling_rate=rate, return_tensors="pt")
    with torch.inference_mode():
        scores = library(**inputs).logits[0].softmax(-1).tolist()
    return {library.config.id2label[index]: score for index, score in enumerate(scores)}


@every_family
def test_scores_are_the_librarys_best_first(model: Model, family: str, ask: Ask) -> None:
    rate = FAMILIES[family]
    answer = ask(TASK, model, body(0.5, rate))
    assert {one["label"]: one["score"] for one in answer} == pytest.approx(
        reference(model, noise(0.5, rate), rate), abs=1e-5
    )
    assert [one["score"] for one in answer] == sorted((one["score"] for one in answer), reverse=True)


@every_family
def test_batch_answers_as_one_by_one(model: Model, family: str, ask: Ask) -> None:
    bodies = [body(seconds, FAMILIES[family], seed) for seed, seconds in enumerate((0.3, 0.5, 0.3))]
    together, alone = ask(TASK, model, *bodies), [ask(TASK, model, one) for one in bodies]
    for answer, expected in zip(together, alone, strict=True):
        assert [one["label"] for one in answer] == [one["label"] for one in expected]
        assert [one["score"] for one in answer] == pytest.approx([one["score"] for one in expected], abs=1e-6)


def test_sound_of_another_rate_is_resampled(load: Load, ask: Ask) -> None:
    model = load("wav2vec2_classifier", "audio-classification")
    answer = ask(TASK, model, body(0.5, 48_000))
    assert sum(one["score"] for one in answer) == pytest.approx(1, abs=1e-5)


def test_top_k_and_function_are_obeyed(load: Load, ask: Ask) -> None:
    model = load("wav2vec2_classifier", "audio-classification")
    everything = ask(TASK, model, body(0.3, 16_000))
    assert ask(TASK, model, body(0.3, 16_000, top_k=2)) == everything[:2]
    raw = ask(TASK, model, body(0.3, 16_000, function_to_apply="none"))
    logits = torch.tensor([one["score"] for one in raw])
    assert logits.softmax(-1).tolist() == pytest.approx([one["score"] for one in everything], abs=1e-5)


def test_damaged_sound_fails_alone(load: Load, ask: Ask) -> None:
    model = load("wav2vec2_classifier", "audio-classification")
    error, answer = ask(TASK, model, {"audio_url": in_base64(b"not a sound")}, body(0.3, 16_000))
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == "audio_url"
    assert len(answer) == 4


@pytest.mark.parametrize(
    ("params", "field"),
    [({"top_k": 0}, "params.top_k"), ({"function_to_apply": "tanh"}, "params.function_to_apply")],
)
def test_wrong_params_are_named(params: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, body(0.1, 8_000, **params))
    assert raised.value.data["field"] == field
