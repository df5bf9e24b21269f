"""Images that a pipeline is given: the one of the request, and further ones beside it. Owns no task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.media.images import decode_image
from modelyard.media.media import Media
from modelyard.media.room import Room
from modelyard.tasks.base import Call
from modelyard.tasks.body import media_reference
from modelyard.tasks.maker import Maker

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 2048 * 2048
"""Of an image in a request. Pipelines work at its size, as large as the largest that a request may ask for."""


class Picture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A further image beside the first."""

    media: Annotated[Media, Meta(description="the image")]


def naming(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What turns further images of a body, called `names`, into references; it raises InvalidRequest."""

    def name_pictures(fields: dict[str, Any]) -> dict[str, Any]:
        named = dict(fields)
        for name in names:
            by_url = named.pop(f"{name}_url", None)
            value, where = (named[name], name) if name in named else (by_url, f"{name}_url")
            if value is not None and not (isinstance(value, dict) and "media" in value):
                named[name] = {"media": media_reference(value, where)}
        return named

    return name_pictures


def read_pictures(call: Call[Any, Any], model: Maker, further: Sequence[str]) -> dict[str, Any]:
    """What the model is given beside the call's params: its image, those of its fields called `further`, and a text
    where it reads one. Raises InvalidRequest for an image that it does not read, and MemoryError."""
    given = {"image": call.inputs.media}
    given |= {name: each.media for name in further if (each := getattr(call.inputs, name)) is not None}
    room = Room()
    options: dict[str, Any] = {}
    for name, media in given.items():
        refuse_unread(model, name, media)
        options[name] = read_picture(media, room, mask=name == "mask")
    return options | empty_text(call, model)


def refuse_unread(model: Maker, name: str, media: Media) -> None:
    """Raises InvalidRequest for media that the model does not read."""
    if name not in model.settings:
        raise InvalidRequest(field=media.where, got=f"a {name}", accepted="none: this model does not read it")


def empty_text(call: Call[Any, Any], model: Maker) -> dict[str, Any]:
    """The text of a call that has none, where the model reads one."""
    return {"text": ""} if "text" in model.settings and call.inputs.text is None else {}


def read_picture(media: Media, room: Room, *, mask: bool) -> Image:
    """One image, or a mask. Raises InvalidRequest for one that is too large to work on."""
    image = decode_image(media, room, mask=mask)
    refuse_large(image.width, image.height, media)
    return image


def refuse_large(width: int, height: int, media: Media) -> None:
    """Raises InvalidRequest for an image, or frames, of more pixels than pipelines work on."""
    if width * height > MOST_PIXELS:
        got = f"{width}x{height} pixels"
        raise InvalidRequest(field=media.where, got=got, accepted=f"at most {MOST_PIXELS:,} pixels; scale it down")


def count_characters(call: Call[Any, Any]) -> int:
    """Characters in the call's text."""
    return len(call.inputs.text or "")
