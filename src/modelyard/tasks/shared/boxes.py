"""Detected objects and their boxes, as every detection task answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelyard.tasks.hints import means


class Box(msgspec.Struct, frozen=True):
    """Corners in pixels of the image as sent, from its upper left; a model may place them a little outside of it."""

    xmin: Annotated[int, Meta(description="left")]
    ymin: Annotated[int, Meta(description="top")]
    xmax: Annotated[int, Meta(description="right")]
    ymax: Annotated[int, Meta(description="bottom")]


class Detection(msgspec.Struct, frozen=True):
    """One object that was found."""

    score: Annotated[float, means("score", "how sure the model is, 0 to 1")]
    label: Annotated[str, means("label", "what it is")]
    box: Annotated[Box, means("box", "where it is")]


def to_box(corners: Sequence[Any]) -> Box:
    """A box from corners as the library's processors give them, in pixels; fractions are cut off, as there."""
    return Box(*(int(corner) for corner in corners))
