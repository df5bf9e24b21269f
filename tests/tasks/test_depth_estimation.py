"""depth-estimation: the pipeline's depths, in the size of the image as sent."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.pictures import SIZES, picture, to_base64, turned
from tests.builders.reference import library_model

TASK = get_task("depth-estimation")


FAMILIES = ["dpt", "glpn", "depth_anything"]


@pytest.fixture(params=[*FAMILIES, "zoedepth"])
def model(request: pytest.FixtureRequest, load: Load) -> Model:
    return load(request.param, "depth-estimation")


def depths(answer: Any) -> Any:
    return np.array(answer["formatted_predicted_depth_array"])


def assert_close(answer: Any, expected: Any) -> None:
    assert np.abs(answer - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def grey(answer: Any) -> Any:
    image = Image.open(io.BytesIO(base64.b64decode(answer["depth_png"])))
    assert image.mode == "L"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_pipelines_depths(load: Load, ask: Ask, family: str, size: Any) -> None:
    model, image = load(family, "depth-estimation"), picture(size)
    expected = transformers.pipeline("depth-estimation", model=str(model.path))(image)
    answer = ask(TASK, model, {"base64": to_base64(image)})
    assert depths(answer).shape == size[::-1]
    assert np.ptp(depths(answer)) > 0
    assert_close(depths(answer), expected["predicted_depth"].numpy())
    assert np.abs(grey(answer) - np.asarray(expected["depth"])).max() <= 1


@pytest.mark.parametrize("size", SIZES)
def test_zoedepth_is_scaled_and_freed_of_its_padding(load: Load, ask: Ask, size: Any) -> None:
    """The library's own step needs torchvision: this is what it does, on torch alone."""
    model, image = load("zoedepth", "depth-estimation"), picture(size)
    library = library_model("AutoModelForDepthEstimation", model.path)
    with torch.inference_mode():
        depth = library(**model.processor(image, return_tensors="pt")).predicted_depth
    (width, height), (left, above) = size, (int(np.sqrt(side / 2) * 3) for side in size)
    depth = torch.nn.functional.interpolate(depth[None], (height + 2 * above, width + 2 * left), mode="bicubic")
    answer = ask(TASK, model, {"base64": to_base64(image)})
    assert_close(depths(answer), depth[0, 0, above : above + height, left : left + width].numpy())
    assert (grey(answer).min(), grey(answer).max()) == (0, 255)


@pytest.mark.parametrize("family", ["dpt", "depth_anything", "zoedepth"])  # the others want larger ones
def test_an_image_of_one_pixel_has_depths_in_rows_too(load: Load, ask: Ask, family: str) -> None:
    answer = ask(TASK, load(family, "depth-estimation"), {"base64": to_base64(Image.new("RGB", (1, 1), "teal"))})
    assert (depths(answer).shape, grey(answer).shape) == ((1, 1), (1, 1))


def test_batch_of_many_shapes_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [{"base64": to_base64(picture(size, seed))} for seed, size in enumerate(SIZES * 2)]
    for one, alone in zip(ask(TASK, model, *bodies), [ask(TASK, model, body) for body in bodies], strict=True):
        assert_close(depths(one), depths(alone))
        assert np.abs(grey(one) - grey(alone)).max() <= 1


def test_depths_are_those_of_the_upright_image(model: Model, ask: Ask) -> None:
    image = picture((41, 73))
    upright, lying = ask(TASK, model, {"base64": to_base64(image)}, {"base64": turned(image)})
    assert_close(depths(lying), depths(upright))


def test_there_are_no_params() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.threshold"):
        read(TASK, {"base64": "AAAA", "params": {"threshold": 1}})
