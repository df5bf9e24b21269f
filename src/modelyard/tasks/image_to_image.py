"""image-to-image: an image made of another one, and of what a text says: changed, filled in where a mask is white,
drawn after a control image, or made larger. As a PNG.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.media.encode import made_png
from modelyard.media.images import decode_image
from modelyard.media.media import Made, Media
from modelyard.media.room import Room
from modelyard.tasks.base import Call, Task
from modelyard.tasks.body import media_reference
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs
from modelyard.tasks.shared.media_making import PromptedParams, PromptText, make_each

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 2048 * 2048
"""Of an image in a request. Pipelines work at its size, as large as the largest that a request may ask for."""


class Picture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A further image beside the first."""

    media: Annotated[Media, Meta(description="the image")]


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


ImageToImageOutput = Made
"""A PNG."""


def name_pictures(fields: dict[str, Any]) -> dict[str, Any]:
    """The body's fields with its further images as references. Raises InvalidRequest."""
    named = dict(fields)
    for name in ("mask", "control_image"):
        by_url = named.pop(f"{name}_url", None)
        value, where = (named[name], name) if name in named else (by_url, f"{name}_url")
        if value is not None and not (isinstance(value, dict) and "media" in value):
            named[name] = {"media": media_reference(value, where)}
    return named


def read_images(call: Call[Any, Any], model: Maker) -> dict[str, Any]:
    """What the model is given beside the call's params: its images, and a text where it reads one. Raises
    InvalidRequest for an image that it does not read, and MemoryError."""
    inputs: ImageToImageInputs = call.inputs
    given = {"image": inputs.media}
    given |= {name: each.media for name in ("mask", "control_image") if (each := getattr(inputs, name)) is not None}
    room = Room()
    options: dict[str, Any] = {}
    for name, media in given.items():
        if name not in model.settings:
            raise InvalidRequest(field=media.where, got=f"a {name}", accepted="none: this model does not read it")
        options[name] = read_image(media, room, mask=name == "mask")
    if "text" in model.settings and inputs.text is None:
        options["text"] = ""
    return options


def read_image(media: Media, room: Room, *, mask: bool) -> Image:
    """One image, or a mask. Raises InvalidRequest for one that is too large to work on."""
    image = decode_image(media, room, mask=mask)
    if image.width * image.height > MOST_PIXELS:
        got = f"an image of {image.width}x{image.height} pixels"
        raise InvalidRequest(field=media.where, got=got, accepted=f"at most {MOST_PIXELS:,} pixels; scale it down")
    return image


def count_characters(call: Call[Any, Any]) -> int:
    """Characters in the call's text."""
    return len(call.inputs.text or "")


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Makes one image for each call."""
    return make_each(model, calls, lambda pixels, _: made_png(pixels), read_images)


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
    prepare=name_pictures,
    wildcard="base64",
    max_batch=1,
    length=count_characters,
    sizes=sizes.images_to_change,
)
