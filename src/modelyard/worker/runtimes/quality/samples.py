"""What models are compared on: sentences in several languages, passages of text, pictures. Owns them; judges nothing.

The texts were written for this purpose, so that no model has learned them; the pictures are drawn, the same every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from modelyard.tasks.model import Array

FOLDER = Path(__file__).parent
PICTURES = 12


@cache
def sentences() -> tuple[str, ...]:
    """About a hundred, from one word to forty: news, questions, opinions, instructions, code, fourteen languages."""
    return tuple((FOLDER / "sentences.txt").read_text(encoding="utf-8").splitlines())


@cache
def passages() -> tuple[str, ...]:
    """Paragraphs of connected text, English but for one in German and one in Python."""
    return tuple(part.strip() for part in (FOLDER / "passages.txt").read_text(encoding="utf-8").split("\n\n\n"))


def pictures() -> Iterator[Array]:
    """Shapes over shaded backgrounds with some grain, (height, width, 3) bytes of different sizes."""
    random = np.random.default_rng(0)
    for _ in range(PICTURES):
        height, width = (int(side) for side in random.integers(120, 400, 2))
        rows, columns = np.mgrid[0:height, 0:width]
        picture = shade(random, rows / height, columns / width)
        for _ in range(int(random.integers(2, 7))):
            paint(random, picture, rows / height, columns / width)
        grain = random.normal(0, 4, picture.shape)
        yield np.clip(picture + grain, 0, 255).astype(np.uint8)


def shade(random: np.random.Generator, rows: Array, columns: Array) -> Array:
    """A background that goes from one colour to another."""
    first, second = random.uniform(0, 255, (2, 3))
    share = (rows * random.uniform(0, 1) + columns * random.uniform(0, 1))[..., None] / 2
    return np.asarray(first * (1 - share) + second * share)


def paint(random: np.random.Generator, picture: Array, rows: Array, columns: Array) -> None:
    """Puts an ellipse or a rectangle of one colour somewhere on the picture."""
    row, column = random.uniform(0.1, 0.9, 2)
    tall, wide = random.uniform(0.05, 0.35, 2)
    across, down = np.abs(columns - column) / wide, np.abs(rows - row) / tall
    inside = across**2 + down**2 < 1 if random.random() < 0.5 else np.maximum(across, down) < 1
    picture[inside] = random.uniform(0, 255, 3)
