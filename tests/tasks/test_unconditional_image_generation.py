"""unconditional-image-generation: DDPM and DDIM on pixels, DiT in latent space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.unconditional_image_generation import TASK
from tests.builders.fixtures import Ask, Load
from tests.builders.made import Client, png_pixels
from tests.builders.reference import call_pipeline

CASES = [
    ("ddpm", {}, {}),
    ("ddim", {}, {}),
    ("ddim", {"eta": 0.7}, {"eta": 0.7}),
    ("dit", {"class_label": 1, "guidance_scale": 3.0}, {"class_labels": [1], "guidance_scale": 3.0}),
]


@pytest.mark.parametrize(("family", "params", "arguments"), CASES)
def test_pixels_are_the_librarys(load: Load, ask: Ask, family: str, params: Any, arguments: Any) -> None:
    model = load(family, "image-pipeline")
    answer = ask(TASK, model, {"params": {"num_inference_steps": 3, "seed": 5, **params}})
    expected = call_pipeline(model.path, seed=5, num_inference_steps=3, output_type="np", **arguments).images[0]
    np.testing.assert_array_equal(png_pixels(answer), (expected * 255).round().astype(np.uint8))


def test_an_empty_body_is_valid() -> None:
    inference = read(TASK, {})
    assert (inference.fields, inference.params) == ({}, {})


def test_fields_of_other_tasks_are_not_read() -> None:
    assert read(TASK, {"text": "a fox"}).fields == {}


@pytest.mark.parametrize("family", ["ddpm", "ddim", "dit"])
def test_seeds_repeat_steps_are_told_and_calls_can_be_cancelled(load: Load, ask: Ask, family: str) -> None:
    model = load(family, "image-pipeline")
    own = {"class_label": 1} if family == "dit" else {}
    body = {"params": {"num_inference_steps": 3, "seed": 5, **own}}
    client, leaver = Client(), Client(leaves_after=1)
    assert ask(TASK, model, body, **client.sinks) == ask(TASK, model, body)
    assert client.steps == [(1, 3), (2, 3), (3, 3)]
    assert "Cancelled" in ask(TASK, model, body, **leaver.sinks).message
    assert len(leaver.steps) == 1


def test_a_model_with_classes_wants_one(load: Load, ask: Ask) -> None:
    error = ask(TASK, load("dit", "image-pipeline"), {"params": {"num_inference_steps": 1}})
    assert error.data["field"] == "params.class_label"


@pytest.mark.parametrize("params", [{"eta": 0.5}, {"class_label": 1}, {"guidance_scale": 2.0}])
def test_params_that_the_model_does_not_read_are_named(load: Load, ask: Ask, params: dict[str, Any]) -> None:
    error = ask(TASK, load("ddpm", "image-pipeline"), {"params": params})
    assert error.data["field"] == f"params.{next(iter(params))}"
    assert "num_inference_steps, seed" in error.message


@pytest.mark.parametrize(
    ("name", "value"), [("eta", 2), ("class_label", -1), ("num_inference_steps", 0), ("seed", 0.5)]
)
def test_wrong_params_are_named(name: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}: got"):
        read(TASK, {"params": {name: value}})
