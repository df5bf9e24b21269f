"""image-to-image: an image made of another one, and of what a text says: changed, filled in where a mask is white,
drawn after a control image, or made larger. As a PNG.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import ModelyardError
from modelyard.media.encode import made_png
from modelyard.media.media import Made
from modelyard.tasks.base import Call, Task
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs
from modelyard.tasks.shared.media_making import PromptedParams, PromptText, make_each
from modelyard.tasks.shared.pictures import Picture, count_characters, naming, read_pictures


class ImageToImageInputs(ImageInputs, frozen=True, kw_only=True):
    """The image, and what to do with it."""

    text: Annotated[
        PromptText | None, Meta(description="what the result shows, or what to change, on models that read a text")
    ] = None
    mask: Annotated[
        Picture | None,
        Meta(
            description="mask or mask_url: an image of the same size, white where the model is to fill in, black where "
            "the image stays (or transparent and opaque); on models that fill in, which need it"
        ),
    ] = None
    control_image: Annotated[
        Picture | None,
        Meta(
            description="control_image or control_image_url: edges, depths or poses to follow, on models that read "
            "them beside an image; by default the image itself"
        ),
    ] = None


class ImageToImageParams(PromptedParams, frozen=True, kw_only=True):
    """How to make it. Each model has some of these settings."""

    strength: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="how far to go from the image: 1 keeps next to nothing of it; by default the model's own"),
    ] = None
    image_guidance_scale: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None,
        Meta(description="higher stays closer to the image, on models that are told what to change"),
    ] = None
    controlnet_conditioning_scale: Annotated[
        Annotated[float, Meta(ge=0, le=10)] | None,
        Meta(description="weight of the control image: 0 is none; by default the model's own, mostly 1"),
    ] = None
    control_mode: Annotated[
        Annotated[int, Meta(ge=0, le=63)] | None,
        Meta(description="which kind of control image it is, by the model's own numbers, on models for several kinds"),
    ] = None


ImageToImageOutput = Made
"""A PNG."""

FURTHER = ("mask", "control_image")
"""The images that may go beside the first."""


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Makes one image for each call."""
    return make_each(
        model, calls, lambda pixels, _: made_png(pixels), lambda call, model: read_pictures(call, model, FURTHER)
    )


TASK = Task(
    id="image-to-image",
    summary="Change an image, fill in a part of it, or draw one after it, as a text says.",
    inputs=ImageToImageInputs,
    params=ImageToImageParams,
    output=ImageToImageOutput,
    run=run,
    heads=("image-pipeline",),
    example={"base64": EXAMPLE, "text": "The same in winter", "params": {"num_inference_steps": 20, "strength": 0.6}},
    media="image",
    makes="image",
    prepare=naming(*FURTHER),
    wildcard="base64",
    max_batch=1,
    length=count_characters,
    sizes=sizes.images_to_change,
)
