"""What the graphs are called of a model that reads with one and writes with another. Pure: decides from names.

Source: the exporters of optimum, whose names transformers.js has taken over.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import PurePosixPath

ENCODER = "encoder_model"
"""The graph that reads."""
MERGED = "decoder_model_merged"
"""The graph that writes, from the first token on."""
FIRST, LATER = "decoder_model", "decoder_with_past_model"
"""Where that is two: the one that begins a text, and the one that goes on by what the other has kept."""


def find_decoders(encoder: str, names: Container[str]) -> tuple[str, ...]:
    """Of the files `names`, those that write what the graph `encoder` has read: the merged one, or two. They have the
    same ending, which says what type their weights are of. Empty where there are none."""
    path = PurePosixPath(encoder)
    ending = path.name.removeprefix(ENCODER)
    for stems in ((MERGED,), (FIRST, LATER)):
        found = tuple(str(path.with_name(stem + ending)) for stem in stems)
        if all(name in names for name in found):
            return found
    return ()
