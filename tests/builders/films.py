"""A video to change, which gives back what was put into it: a GIF of two colours."""

from __future__ import annotations

import io

from PIL import Image, ImageSequence

SIDE = 32
FRAMES = 5
COLOURS = [20, 60, 160, 230, 180, 40]


def film() -> bytes:
    """A square that moves."""
    frames = [Image.new("P", (SIDE, SIDE)) for _ in range(FRAMES)]
    for at, frame in enumerate(frames):
        frame.putpalette(COLOURS)
        frame.paste(1, (4 + 4 * at, 8, 14 + 4 * at, 22))
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=120)
    return file.getvalue()


def frames_of(gif: bytes) -> list[Image.Image]:
    """Its frames, read by Pillow."""
    return [frame.convert("RGB") for frame in ImageSequence.Iterator(Image.open(io.BytesIO(gif)))]
