"""image-to-image: images changed and filled in, equal to the library's own."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.image_to_image import TASK
from modelyard.tasks.shared.pictures import MOST_PIXELS
from tests.builders.fixtures import Ask, Load
from tests.builders.made import Client, png_pixels
from tests.builders.reference import call_pipeline

TEXT = "The same in winter"


def picture(width: int = 40, height: int = 24) -> Image.Image:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8))


def mask(width: int = 40, height: int = 24) -> Image.Image:
    white = np.zeros((height, width), np.uint8)
    white[8:16, 8:24] = 255
    return Image.fromarray(white)


def in_base64(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def as_pixels(images: Any) -> Any:
    return (images[0] * 255).round().astype(np.uint8)


BODY = {"base64": in_base64(picture()), "text": TEXT}


def test_a_changed_image_is_the_librarys(load: Load, ask: Ask) -> None:
    model = load("image_to_image", "image-pipeline")
    params = {"num_inference_steps": 4, "guidance_scale": 4.0, "negative_prompt": "rain", "strength": 0.75}
    answer = ask(TASK, model, {**BODY, "params": {**params, "seed": 5}})
    expected = call_pipeline(model.path, seed=5, prompt=TEXT, image=picture(), output_type="np", **params).images
    np.testing.assert_array_equal(png_pixels(answer), as_pixels(expected))


@pytest.mark.parametrize("more", [{}, {"strength": 0.9}, {"strength": 0.1, "num_inference_steps": 9}])
def test_too_few_steps_for_any_to_be_taken_are_refused(load: Load, ask: Ask, more: dict[str, Any]) -> None:
    model = load("image_to_image", "image-pipeline")
    error = ask(TASK, model, {**BODY, "params": {"num_inference_steps": 1, **more}})
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == "params.num_inference_steps"


def test_a_filled_in_image_is_the_librarys(load: Load, ask: Ask) -> None:
    model = load("inpainting", "image-pipeline")
    params = {"num_inference_steps": 4, "height": 24, "width": 40}
    body = {**BODY, "mask": in_base64(mask()), "params": {**params, "seed": 5}}
    expected = call_pipeline(
        model.path, seed=5, prompt=TEXT, image=picture(), mask_image=mask(), output_type="np", **params
    ).images
    np.testing.assert_array_equal(png_pixels(ask(TASK, model, body)), as_pixels(expected))


def test_no_text_is_an_empty_one(load: Load, ask: Ask) -> None:
    model = load("image_to_image", "image-pipeline")
    params = {"num_inference_steps": 4, "seed": 5}
    without, empty = {"base64": BODY["base64"], "params": params}, {**BODY, "text": "", "params": params}
    assert ask(TASK, model, without) == ask(TASK, model, empty)


def test_every_step_is_told(load: Load, ask: Ask) -> None:
    client = Client()
    params = {"num_inference_steps": 4, "strength": 0.5}
    ask(TASK, load("image_to_image", "image-pipeline"), {**BODY, "params": params}, **client.sinks)
    assert client.steps == [(1, 2), (2, 2)]


def test_what_the_model_does_not_read_or_needs_is_named(load: Load, ask: Ask) -> None:
    changing, filling = (load(family, "image-pipeline") for family in ("image_to_image", "inpainting"))
    for model, body, field in (
        (changing, {**BODY, "mask": BODY["base64"]}, "mask"),
        (changing, {**BODY, "control_image_url": BODY["base64"]}, "control_image_url"),
        (filling, BODY, "mask"),
        (load("ddpm", "image-pipeline"), {"base64": BODY["base64"]}, "base64"),
        (changing, {**BODY, "params": {"image_guidance_scale": 2}}, "params.image_guidance_scale"),
    ):
        error = ask(TASK, model, body)
        assert error.data["field"] == field


def test_a_text_to_image_model_says_that_it_reads_no_image(load: Load, ask: Ask) -> None:
    error = ask(TASK, load("stable_diffusion", "image-pipeline"), BODY)
    assert error.data["field"] == "base64"


def test_an_image_too_large_to_work_on_is_refused(load: Load, ask: Ask) -> None:
    body = {**BODY, "base64": in_base64(Image.new("RGB", (2048, 2049)))}
    error = ask(TASK, load("image_to_image", "image-pipeline"), body)
    assert f"at most {MOST_PIXELS:,} pixels" in error.message


def test_further_images_are_read_in_every_form() -> None:
    data, address = BODY["base64"], "https://example.org/mask.png"
    for given, reference in (
        ({"mask": data}, {"where": "mask", "base64": data}),
        ({"mask_url": address}, {"where": "mask_url", "url": address}),
        ({"mask": {"url": address}}, {"where": "mask", "url": address}),
    ):
        fields = read(TASK, {**BODY, **given}).fields
        assert fields["mask"] == {"media": reference}
        assert read(TASK, fields).fields == fields


@pytest.mark.parametrize(("name", "value"), [("strength", 0), ("strength", 1.5), ("image_guidance_scale", -1)])
def test_wrong_params_are_named(name: str, value: float) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}: got"):
        read(TASK, {**BODY, "params": {name: value}})


def test_wrong_images_are_named() -> None:
    with pytest.raises(InvalidRequest, match="mask: got 5"):
        read(TASK, {**BODY, "mask": 5})
    with pytest.raises(InvalidRequest, match="media: missing"):
        read(TASK, {"text": TEXT})
