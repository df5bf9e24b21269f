from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.video_classification import TASK
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import film, gif, in_base64
from tests.builders.reference import library_model

FRAMES = {"videomae": 4, "timesformer": 3}
every_family = pytest.mark.parametrize("family", FRAMES)


@pytest.fixture
def model(load: Load, family: str) -> Model:
    return load(family, "video-classification")


def body(frames: Any, **params: Any) -> Any:
    return {"base64": in_base64(gif(frames)), "params": params}


def reference(model: Model, frames: Any) -> Any:
    """Label → score by the library alone."""
    library = library_model("AutoModelForVideoClassification", model.path)
    inputs = AutoImageProcessor.from_pretrained(model.path)(list(frames), return_tensors="pt")
    with torch.inference_mode():
        scores = library(**inputs).logits[0].softmax(-1).tolist()
    return {library.config.id2label[index]: score for index, score in enumerate(scores)}


@every_family
def test_scores_are_the_librarys_for_frames_at_equal_distances(model: Model, family: str, ask: Ask) -> None:
    frames = film(10)
    chosen = frames[np.linspace(0, 9, FRAMES[family]).round().astype(int)]
    answer = ask(TASK, model, body(frames))
    assert {one["label"]: one["score"] for one in answer} == pytest.approx(reference(model, chosen), abs=1e-4)
    assert [one["score"] for one in answer] == sorted((one["score"] for one in answer), reverse=True)


@every_family
def test_short_video_repeats_frames(model: Model, family: str, ask: Ask) -> None:
    frames = film(2)
    chosen = frames[np.linspace(0, 1, FRAMES[family]).round().astype(int)]
    answer = ask(TASK, model, body(frames))
    assert {one["label"]: one["score"] for one in answer} == pytest.approx(reference(model, chosen), abs=1e-4)


@every_family
def test_batch_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [body(film(6, seed=seed)) for seed in range(3)]
    for answer, expected in zip(ask(TASK, model, *bodies), [ask(TASK, model, one) for one in bodies], strict=True):
        assert [one["label"] for one in answer] == [one["label"] for one in expected]
        assert [one["score"] for one in answer] == pytest.approx([one["score"] for one in expected], abs=1e-5)


def test_damaged_video_fails_alone(load: Load, ask: Ask) -> None:
    error, answer = ask(
        TASK, load("videomae", "video-classification"), {"video_url": in_base64(b"no video")}, body(film(4), top_k=1)
    )
    assert error.data["field"] == "video_url"
    assert len(answer) == 1


def test_wrong_params_are_named() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.top_k"):
        read(TASK, body(film(2), top_k=0))
