"""text-to-image: Stable Diffusion 1 and XL, with and without a safety checker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.text_to_image import TASK
from tests.builders.fixtures import Ask, Load
from tests.builders.made import Client, png_pixels
from tests.builders.reference import call_pipeline

TEXT = "A small fox by the river"
FAMILIES = ["stable_diffusion", "stable_diffusion_checked", "stable_diffusion_xl"]


@pytest.fixture
def painter(load: Load) -> Model:
    return load("stable_diffusion", "image-pipeline")


def as_pixels(images: Any) -> Any:
    return (images[0] * 255).round().astype(np.uint8)


@pytest.mark.parametrize("family", FAMILIES)
def test_pixels_are_the_librarys(load: Load, ask: Ask, family: str) -> None:
    model = load(family, "image-pipeline")
    params = {"num_inference_steps": 3, "guidance_scale": 4.0, "negative_prompt": "rain", "height": 24, "width": 40}
    answer = ask(TASK, model, {"text": TEXT, "params": {**params, "seed": 5}})
    expected = call_pipeline(model.path, seed=5, prompt=TEXT, output_type="np", **params).images
    assert png_pixels(answer).shape == (24, 40, 3)
    np.testing.assert_array_equal(png_pixels(answer), as_pixels(expected))


def test_size_and_guidance_are_the_models_own_by_default(painter: Model, ask: Ask) -> None:
    answer = ask(TASK, painter, {"text": TEXT, "params": {"num_inference_steps": 2, "seed": 0}})
    expected = call_pipeline(painter.path, seed=0, prompt=TEXT, num_inference_steps=2, output_type="np").images
    np.testing.assert_array_equal(png_pixels(answer), as_pixels(expected))


def test_safety_checker_of_the_folder_is_kept(load: Load, ask: Ask) -> None:
    body = {"text": TEXT, "params": {"num_inference_steps": 1, "seed": 5}}
    checked = png_pixels(ask(TASK, load("stable_diffusion_checked", "image-pipeline"), body))
    unchecked = png_pixels(ask(TASK, load("stable_diffusion", "image-pipeline"), body))
    assert checked.max() == 0 < unchecked.max()


def test_seeds_repeat_and_calls_without_one_differ(painter: Model, ask: Ask) -> None:
    body = {"text": TEXT, "params": {"num_inference_steps": 1}}
    seeded = {"text": TEXT, "params": {"num_inference_steps": 1, "seed": 3}}
    first, second = (ask(TASK, painter, seeded) for _ in range(2))
    assert first == second
    assert len({str(ask(TASK, painter, body)) for _ in range(3)}) == 3


def test_several_calls_are_answered_as_one_by_one(painter: Model, ask: Ask) -> None:
    bodies = [{"text": text, "params": {"num_inference_steps": 1, "seed": 3}} for text in (TEXT, "a house", "")]
    assert ask(TASK, painter, *bodies) == [ask(TASK, painter, body) for body in bodies]
    assert TASK.max_batch == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_every_step_is_told(load: Load, ask: Ask, family: str) -> None:
    client = Client()
    body = {"text": TEXT, "params": {"num_inference_steps": 4}}
    ask(TASK, load(family, "image-pipeline"), body, **client.sinks)
    assert client.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_cancelled_call_stops_within_a_step_and_leaves_the_model_usable(painter: Model, ask: Ask) -> None:
    client = Client(leaves_after=2)
    params = {"num_inference_steps": 50, "seed": 3}
    body = {"text": TEXT, "params": params}
    answer = ask(TASK, painter, body, **client.sinks)
    assert "Cancelled" in answer.message
    assert len(client.steps) == 2
    params["num_inference_steps"] = 2
    expected = call_pipeline(painter.path, seed=3, prompt=TEXT, num_inference_steps=2, output_type="np").images
    np.testing.assert_array_equal(png_pixels(ask(TASK, painter, body)), as_pixels(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", 20),
        ("height", 0),
        ("width", 4096),
        ("width", "wide"),
        ("num_inference_steps", 0),
        ("num_inference_steps", 1001),
        ("guidance_scale", -1),
        ("seed", -1),
        ("negative_prompt", 5),
    ],
)
def test_wrong_params_are_named(name: str, value: int | str) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}: got"):
        read(TASK, {"text": TEXT, "params": {name: value}})


@pytest.mark.parametrize(("given", "named"), [("height", "width"), ("width", "height")])
def test_height_and_width_come_together(given: str, named: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{named}: got null"):
        read(TASK, {"text": TEXT, "params": {given: 64}})


def test_params_that_only_the_model_can_refuse_are_the_clients_error(load: Load, ask: Ask) -> None:
    error = ask(TASK, load("ddpm", "image-pipeline"), {"text": TEXT})
    assert error.data["field"] == "text"
