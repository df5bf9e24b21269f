"""Texts, images, sounds and videos to try a model on: made on the spot, always the same, as files a client would send.

Owns what they look like. Imports Pillow and PyAV only when called.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np

from modelyard.media.encode import encode_mp4, encode_wav

Array = np.ndarray[Any, np.dtype[Any]]

RATE = 16_000
"""Samples per second of the sounds."""
VIDEO_FPS = 8.0

PASSAGE = """\
The old boat came back to the harbour just after the rain had stopped. Two men stood on the deck and threw a rope to \
the girl who was waiting on the wall. She tied it to an iron ring, as she had done each evening since the spring, and \
called out to ask how the day had been. They had gone out before dawn, past the lighthouse and the long bank of sand, \
to a place where the water was deep and the fish were said to be large. For most of the morning there was nothing. \
Then the wind turned to the north, the birds came down all at once, and the nets were so heavy that it took both of \
them an hour to bring them in. Now the boxes stood full of ice and silver along the side of the boat.

In the town above the harbour the lamps were being lit. Anna Berg kept a small shop there, where she sold bread, \
soap, papers and news. Her brother had moved to London some years ago and wrote to her every month about his work in a \
bank, the price of rooms, and the football he went to see on Saturdays. She read his letters twice and put them in a \
drawer. People came in for milk and stayed to talk: about the new bridge, which had cost far more than the council had \
promised, about the doctor who was soon to retire, and about the school, where a young teacher from France had begun \
to take the children out to look at the stars. Some said it was a waste of time. Others said that their sons and \
daughters had never before come home with so many questions. When the last of them had left, she turned the sign on \
the door, counted the coins, and went down to the water to see what the boat had brought.
"""
"""Plain English, 323 words."""


@cache
def words(count: int) -> str:
    """The first `count` words of the passage, which starts again where it ends."""
    known = PASSAGE.split()
    return " ".join((known * (count // len(known) + 1))[:count])


@cache
def image(width: int, height: int) -> bytes:
    """A JPEG of soft colours with a few shapes in it."""
    from PIL import Image

    return in_jpeg(Image.fromarray(scene(width, height)))


@cache
def page(width: int, height: int, text: str) -> bytes:
    """A JPEG of a white page with `text` set on it in lines, cut where the page ends."""
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for word, (left, top, _, _) in places_on_page(text):
        draw.text((left * width / 1000, top * height / 1000), word, fill="black")
    return in_jpeg(sheet)


def places_on_page(text: str) -> list[tuple[str, list[float]]]:
    """Each word and its box [left, top, right, bottom] in thousandths of a page: 14 words to a line, 40 lines."""
    columns, rows = 14, 40
    across, down = 900 // columns, 900 // rows
    boxes = []
    for index, word in enumerate(text.split()[: columns * rows]):
        left, top = 50 + index % columns * across, 50 + index // columns * down
        boxes.append((word, [float(left), float(top), float(left + across - 4), float(top + down - 4)]))
    return boxes


@cache
def sound(seconds: float) -> bytes:
    """A WAV, 16-bit mono at RATE: a voice-like tone that rises, falls and pauses, over a little noise."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 140 + 40 * np.sin(2 * np.pi * 0.4 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 9))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time), 0, 1) * (np.sin(2 * np.pi * 0.25 * time) > -0.7)
    noise = np.random.default_rng(0).standard_normal(len(time))
    return encode_wav((0.25 * voice * syllables + 0.01 * noise).astype(np.float32), RATE)


@cache
def video(frames: int, width: int, height: int) -> bytes:
    """An MP4 in which a scene drifts to the left."""
    ground = scene(width, height)
    return encode_mp4([np.roll(ground, -4 * at, axis=1) for at in range(frames)], VIDEO_FPS)


def scene(width: int, height: int) -> Array:
    """Its pixels, uint8 (height, width, 3)."""
    down, across = np.mgrid[0:height, 0:width]
    x, y = across / width, down / height
    waves = [np.sin(6 * x + 2 * channel) * np.cos(5 * y - channel) for channel in range(3)]
    pixels = np.stack(waves, axis=-1) * 80 + 128
    pixels[(x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.03] = (220, 60, 40)
    pixels[(abs(x - 0.7) < 0.12) & (abs(y - 0.6) < 0.2)] = (40, 70, 200)
    whole: Array = np.clip(pixels, 0, 255).astype(np.uint8)
    return whole


def in_jpeg(image: Any) -> bytes:
    """A Pillow image as a file."""
    target = io.BytesIO()
    image.save(target, "JPEG", quality=90)
    return target.getvalue()
