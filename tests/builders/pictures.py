"""Pictures to send: smooth colours with a few shapes, always the same for one size and seed."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

SIZES = [(64, 48), (41, 73), (50, 50)]
"""(width, height): landscape, portrait, square."""
LEFT_UP = 6
"""EXIF orientation of a camera held upright: the stored picture is turned by 90 degrees."""


def picture(size: tuple[int, int] = (64, 48), seed: int = 0) -> Image.Image:
    """A picture of `size` (width, height)."""
    width, height = size
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(x * draw.uniform(0.05, 0.3) + draw.uniform(0, 6)) * np.cos(y * draw.uniform(0.05, 0.3)) for _ in "rgb"
    ]
    pixels = (np.stack(waves, axis=-1) * 100 + 128).astype(np.uint8)
    for _ in range(3):
        left, top = draw.integers(0, width // 2), draw.integers(0, height // 2)
        pixels[top : top + height // 3, left : left + width // 3] = draw.integers(0, 255, 3)
    return Image.fromarray(pixels)


def to_base64(image: Image.Image, kind: str = "PNG", **settings: Any) -> str:
    """The picture's file in base64."""
    target = io.BytesIO()
    image.save(target, kind, **settings)
    return base64.b64encode(target.getvalue()).decode()


def turned(image: Image.Image) -> str:
    """A file that shows `image`, stored lying down with the EXIF orientation that turns it up again, in base64."""
    exif = Image.Exif()
    exif[0x0112] = LEFT_UP
    return to_base64(image.transpose(Image.Transpose.ROTATE_90), exif=exif)
