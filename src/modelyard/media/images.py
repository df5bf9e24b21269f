"""Images as models read them. Called in workers; imports Pillow only when called."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from modelyard.errors import InvalidRequest
from modelyard.media import sniff
from modelyard.media.content import content
from modelyard.media.media import Media
from modelyard.media.room import Room

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 100_000_000
"""Larger images are refused by their header: a few kB can unfold to terabytes."""


def decode_image(media: Media, room: Room | None = None, *, mask: bool = False) -> Image:
    """The image in RGB, 8 bits, upright: EXIF rotation applied, so `size` and coordinates are as a viewer shows it.

    The first frame of an animation; alpha on white. `mask`: in grey instead, see `to_mask`. It takes from the `room` of
    its request before it is decoded. Raises InvalidRequest naming `media.where`, and MemoryError.
    """
    from PIL import Image as pillow

    data = content(media)
    found = sniff.check(data, "image", media.where)
    # Pillow warns at one size and raises at another; the one bound that holds is ours, before anything is decoded.
    pillow.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings(action="ignore"):  # about damage that it can read past
            image: Image = pillow.open(io.BytesIO(data), formats=[found.name.upper()])
            check_pixels(image.size, media.where)
            if room is not None:
                room.take(image.width * image.height * 3, media.where)
            image.load()
            return upright(to_mask(image) if mask else to_rgb(image), image)
    except (InvalidRequest, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on a damaged file
        raise InvalidRequest(
            f"{media.where}: this {found.name} file cannot be decoded; it is damaged or cut off ({reason(error)})",
            field=media.where,
        ) from error


def check_pixels(size: tuple[int, int], where: str) -> None:
    """Raises InvalidRequest when an image of `size` is too large to decode, or empty."""
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        raise InvalidRequest(
            field=where, got=f"an image of {width}x{height} pixels", accepted=f"1 to {MAX_PIXELS // 10**6} megapixels"
        )


def to_rgb(image: Image) -> Image:
    """`image` in RGB with 8 bits per channel; what is transparent becomes white."""
    from PIL import Image as pillow

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = pillow.new("RGBA", image.size, "white")
        return pillow.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def to_mask(image: Image) -> Image:
    """`image` as a mask in grey: white where it is white or, where a part is transparent, there, as OpenAI has it."""
    from PIL import ImageOps

    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            return ImageOps.invert(alpha)
    return to_rgb(image).convert("L")


def eight_bits(image: Image) -> Image:
    """A grey image of 16 or 32 bits, or of floats, in 8 bits: 65535 → 255; floats of at most 1 count as 0 to 1."""
    import numpy as np
    from PIL import Image as pillow

    values: np.ndarray[Any, Any] = np.asarray(image, dtype=np.float32)
    most = float(values.max(initial=0.0))
    scale = 255.0 if image.mode == "F" and most <= 1.0 else 1 / 257.0 if image.mode != "F" or most > 255.0 else 1.0
    if image.mode == "I" and most <= 255.0:
        scale = 1.0
    return pillow.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8))


def upright(pixels: Image, source: Image) -> Image:
    """`pixels` turned as the EXIF data of `source` says; EXIF that cannot be read turns nothing."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    try:
        turn = turns.get(source.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - EXIF data is written by anything; the pixels are what counts
        turn = None
    return pixels if turn is None else pixels.transpose(turn)


def reason(error: Exception) -> str:
    """A foreign error in a few words."""
    words = str(error).strip().splitlines()
    return (words[0] if words else type(error).__name__)[:120]
