"""depth-estimation: how far away each pixel of an image is, by the model's own measure.

Some models give depth (larger is farther, metres where the model is metric), most give inverse depth (larger is
nearer); the numbers are passed on as they are. Most measure in one pass, those that work by diffusion in steps.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.media.encode import encode_png
from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.hints import means
from modelyard.tasks.maker import Maker
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.arrays import Arguments
from modelyard.tasks.shared.images import (
    EXAMPLE,
    ImageInputs,
    answer_images,
    height_and_width,
    image_processor,
    pixels_of,
)
from modelyard.tasks.shared.media_making import Seed, make_each
from modelyard.tasks.shared.pictures import read_pictures


class DepthEstimationInputs(ImageInputs, frozen=True, kw_only=True):
    """The image to measure."""


class DepthEstimationParams(Params, frozen=True, kw_only=True):
    """How models measure that work by diffusion (Marigold); the others have nothing to set."""

    num_inference_steps: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None, Meta(description="steps; by default the model's own, mostly 1 to 4")
    ] = None
    ensemble_size: Annotated[
        Annotated[int, Meta(ge=1, le=20)] | None,
        Meta(
            description="how often to measure, of which the middle is taken: more is slower and steadier; 1 by default"
        ),
    ] = None
    processing_resolution: Annotated[
        Annotated[int, Meta(ge=0, le=2048, multiple_of=8)] | None,
        Meta(
            description="pixels of the longer side that the model works at; 0 is the image's own; by default the "
            "model's own, mostly 768"
        ),
    ] = None
    seed: Seed = None


class Depth(msgspec.Struct, frozen=True):
    """The depth of every pixel, in the size of the image as sent."""

    depth_png: Annotated[str, means("image", "PNG in base64, 8-bit grey: the least value is black, the greatest white")]
    formatted_predicted_depth_array: Annotated[
        list[list[float]], Meta(description="the model's own numbers: a list of rows, from the top")
    ]


DepthEstimationOutput = Depth
"""An image of the depths, and the depths."""


def run(model: Model | Maker, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Measures each image."""
    if isinstance(model, Maker):
        return make_each(
            model, calls, lambda depth, _: answer(depth), lambda call, model: read_pictures(call, model, ())
        )

    def read(_call: Call[Any, Any], image: Any, outputs: Mapping[str, Any]) -> Depth:
        size = height_and_width(image)
        if model.config.get("model_type") == "zoedepth":
            depth = unpad(outputs["predicted_depth"][0], size, padded=image_processor(model).do_pad)
        else:
            (found,) = model.postprocess("post_process_depth_estimation", outputs, [size])
            depth = found["predicted_depth"].reshape(size)  # the library drops an axis of length 1
        return answer(depth)

    return answer_images(model, calls, read, prepare=prepare)


def prepare(model: Model, call: Call[Any, Any], image: Any) -> Arguments:
    """The arguments of a model that measures in one pass. Raises InvalidRequest for settings, of which it has none."""
    for name in call.params.__struct_fields__:
        if (value := getattr(call.params, name)) is not None:
            raise InvalidRequest(
                field=f"params.{name}", got=value, accepted="not set: this model measures in one pass, without settings"
            )
    return pixels_of(model, call, image)


def answer(depth: Array) -> Depth:
    """The answer of depths, float (h, w)."""
    return Depth(base64.b64encode(encode_png(to_grey(depth))).decode(), depth.tolist())


def unpad(depth: Array, size: tuple[int, int], *, padded: bool) -> Array:
    """ZoeDepth's depths, (h, w), scaled to the image's `size` and what was padded around it.

    The library does this with torchvision, which this server does without.
    Source: the library's `ZoeDepthImageProcessor.post_process_depth_estimation`.
    """
    margins = [int(np.sqrt(side / 2) * 3) if padded else 0 for side in size]
    above, left = margins
    rows, columns = (side + 2 * margin for side, margin in zip(size, margins, strict=True))
    scaled: Array = cubic(depth.shape[0], rows) @ depth @ cubic(depth.shape[1], columns).T
    return scaled[above : above + size[0], left : left + size[1]]


def cubic(few: int, many: int) -> Array:
    """The matrix, (many, few), that scales an axis by cubic convolution as torch does: a = -0.75, edges repeated."""
    weights = np.zeros((many, few), dtype=np.float32)
    centres = (np.arange(many) + 0.5) * few / many - 0.5
    for tap in range(-1, 3):
        places = np.floor(centres) + tap
        away = np.abs(centres - places)
        near = (1.25 * away - 2.25) * away**2 + 1
        far = -0.75 * (((away - 5) * away + 8) * away - 4)
        np.add.at(weights, (np.arange(many), places.clip(0, few - 1).astype(int)), np.where(away <= 1, near, far))
    return weights


def to_grey(depth: Array) -> Array:
    """The depths as 0 to 255, (h, w) uint8; the same everywhere is black."""
    low, high = depth.min(), depth.max()
    share = (depth - low) / (high - low) if high > low else np.zeros_like(depth)
    grey: Array = (share * 255).astype(np.uint8)
    return grey


TASK = Task(
    id="depth-estimation",
    summary="Say how far away each pixel of an image is.",
    inputs=DepthEstimationInputs,
    params=DepthEstimationParams,
    output=DepthEstimationOutput,
    run=run,
    heads=("depth-estimation", "depth-pipeline"),
    example={"base64": EXAMPLE},
    media="image",
    wildcard="url",
    max_batch=4,
    sizes=sizes.images,
)
