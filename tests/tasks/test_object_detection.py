"""object-detection: the pipeline's boxes, in pixels of the image as sent."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.pictures import SIZES, picture, to_base64, turned

TASK = get_task("object-detection")
LOW = {"params": {"threshold": 0.02}}


@pytest.fixture(params=["yolos", "detr", "conditional_detr", "rt_detr"])
def model(request: pytest.FixtureRequest, load: Load) -> Model:
    return load(request.param, "object-detection")


def assert_same(answer: Any, expected: Any) -> None:
    assert [(row["label"], row["box"]) for row in answer] == [(row["label"], row["box"]) for row in expected]
    assert [row["score"] for row in answer] == pytest.approx([row["score"] for row in expected], abs=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_pipelines_objects(model: Model, ask: Ask, size: Any) -> None:
    image = picture(size)
    library = transformers.pipeline("object-detection", model=str(model.path))
    for threshold in (0.02, 0.3, 0.5):
        answer = ask(TASK, model, {"base64": to_base64(image), "params": {"threshold": threshold}})
        assert_same(answer, library(image, threshold=threshold))
        assert all(row["score"] > threshold for row in answer)


def test_boxes_grow_with_the_image(model: Model, ask: Ask) -> None:
    small = picture((60, 100))
    once, twice = (
        ask(TASK, model, {"base64": to_base64(image), **LOW}) for image in (small, small.resize((120, 200), 0))
    )
    assert once
    assert max(row["box"]["ymax"] for row in once) > 60
    assert max(row["box"]["ymax"] for row in twice) > max(row["box"]["ymax"] for row in once)


def test_boxes_are_those_of_the_upright_image(model: Model, ask: Ask) -> None:
    image = picture((41, 73))
    upright, lying = ask(TASK, model, {"base64": to_base64(image), **LOW}, {"base64": turned(image), **LOW})
    assert upright
    assert_same(upright, lying)


def test_batch_of_many_shapes_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [{"base64": to_base64(picture(size, seed)), **LOW} for seed, size in enumerate([*SIZES, *SIZES])]
    for one, alone in zip(ask(TASK, model, *bodies), [ask(TASK, model, body) for body in bodies], strict=True):
        assert_same(one, alone)


def test_half_is_the_threshold_unless_it_is_given(model: Model, ask: Ask) -> None:
    body = {"base64": to_base64(picture())}
    assert ask(TASK, model, body) == ask(TASK, model, {**body, "params": {"threshold": 0.5}})


@pytest.mark.parametrize("value", [-0.1, 1.5, "high"])
def test_wrong_threshold_is_named(value: float | str) -> None:
    with pytest.raises(InvalidRequest, match=r"params\.threshold"):
        read(TASK, {"base64": "AAAA", "params": {"threshold": value}})
