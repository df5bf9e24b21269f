"""Images as models see them: decoded, turned into the model's arguments, run with others of their shape. Owns no task.

An image goes through the model's processor alone, never padded to its batch's size, so that its answer is the same in
any company.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.media.images import decode_image
from modelyard.media.media import Media
from modelyard.media.room import Room
from modelyard.tasks.base import Call, Inputs, attempt
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.arrays import Arguments, forward_rows

if TYPE_CHECKING:
    from PIL.Image import Image

EXAMPLE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAYBAMAAABpfeIHAAAAJ1BMVEXw8Mj6yB7weMig8MhQ8MgA8MigeMhQeMgAeMjwAMigAMhQAMgAAMi+Lj61"
    "AAAAQUlEQVR42mM8w8DA8B4JMzGgAWoIsDAwMDAwhDEwMDAwzMSuYg/UfgYGhj17aOUOIlx6FuGOs/dw+8UYroo27gAAQP8MbMmJh5sAAAAASUVO"
    "RK5CYII="
)
"""A PNG of 32 × 24 pixels, for examples."""


class ImageInputs(Inputs, frozen=True, kw_only=True):
    """One image."""

    media: Annotated[
        Media,
        Meta(
            description="the image: image_url, url or base64 (PNG, JPEG, WebP, GIF, BMP, TIFF); EXIF rotation applies"
        ),
    ]


Prepare = Callable[[Model, Call[Any, Any], "Image"], Arguments]
"""The model's arguments for one call and its image, a batch of one. May raise InvalidRequest."""
Read = Callable[[Call[Any, Any], "Image", Mapping[str, Any]], Any]
"""The answer to a call, given its image and the model's outputs, a batch of one. May raise InvalidRequest."""


def image_processor(model: Model) -> Any:
    """What turns images into the model's arguments: the processor itself, or the part of it that sees."""
    return getattr(model.processor, "image_processor", model.processor)


def pixels_of(model: Model, call: Call[Any, Any], image: Image, **settings: Any) -> dict[str, Array]:
    """The model's arguments for the call's image, a batch of one. `settings` go to the image processor.

    Raises InvalidRequest for an image that the processor refuses, such as one too thin to scale.
    """
    try:
        pixels = image_processor(model)(
            images=[image], return_tensors="np", input_data_format="channels_last", **settings
        )
    except (ValueError, ZeroDivisionError) as error:
        size = f"an image of {image.width}x{image.height} pixels"
        reason = f"one that this model can scale ({error})"
        raise InvalidRequest(field=call.inputs.media.where, got=size, accepted=reason) from error
    return {name: np.asarray(array) for name, array in pixels.items()}


def decode_together(calls: Sequence[Call[Any, Any]]) -> list[Image | InvalidRequest]:
    """The image of each call, in order, or what is wrong with it.

    Raises MemoryError when they are larger together than those of one request may be: each is then run alone.
    """
    room = Room()
    images = [attempt(decode_image, call.inputs.media, room) for call in calls]
    if room.refused:
        raise MemoryError
    return images


def answer_images(
    model: Model,
    calls: Sequence[Call[Any, Any]],
    read: Read,
    *,
    prepare: Prepare = pixels_of,
    shared: Arguments | None = None,
    method: str = "forward",
) -> list[Any]:
    """One answer per call, in order: the image decoded, prepared, seen by the model, its outputs read.

    Images of one shape run together. `shared`: arguments that each pass gets as they are; `method`: which of the
    model's passes. What is wrong with one call's image or inputs fails that call alone.
    """
    images = decode_together(calls)
    rows = [
        image if isinstance(image, InvalidRequest) else attempt(prepare, model, call, image)
        for call, image in zip(calls, images, strict=True)
    ]
    sound = [row for row in rows if not isinstance(row, InvalidRequest)]
    outputs = iter(forward_rows(model, sound, shared, method))
    return [
        row if isinstance(row, InvalidRequest) else attempt(read, call, image, next(outputs))
        for call, image, row in zip(calls, images, rows, strict=True)
    ]


def answer_each_image(calls: Sequence[Call[Any, Any]], answer: Callable[[Call[Any, Any], Image], Any]) -> list[Any]:
    """The same for models that see one image at a time: what `answer` makes of each call and its decoded image."""
    images = decode_together(calls)
    return [
        image if isinstance(image, InvalidRequest) else attempt(answer, call, image)
        for call, image in zip(calls, images, strict=True)
    ]


def height_and_width(image: Image) -> tuple[int, int]:
    """The image's size in pixels, in the order that the library's processors want it."""
    return image.height, image.width
