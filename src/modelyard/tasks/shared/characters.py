"""Texts whose tokens are their characters, as CANINE reads them: where each token is in its text.

Such tokenizers have no fast form, which tells others where their tokens are; here it follows from the text itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

_SAMPLE = "a字"


class Place(NamedTuple):
    """A character: of the text (0) or of its pair (1), and how many of that come before it."""

    part: int
    character: int


def reads_characters(tokenizer: Any) -> bool:
    """Whether the tokenizer's ids are the code points of a text's characters."""
    return not tokenizer.is_fast and tokenizer.convert_tokens_to_ids(list(_SAMPLE)) == [ord(each) for each in _SAMPLE]


def cut_text(text: str, room: int | None, shared: int) -> Iterator[tuple[int, str]]:
    """Stretches of at most `room` characters, each with `shared` of the one before, and where each begins."""
    if room is None or len(text) <= room:
        yield 0, text
        return
    for start in range(0, len(text) - shared, room - shared):
        yield start, text[start : start + room]


def places_of(tokenizer: Any, texts: Sequence[str], starts: Sequence[int]) -> list[Place | None]:
    """Each token's place, None for special ones, of a text or of two that are read together, whose first characters
    are the ones at `starts`."""
    places = (
        Place(part, start + character)
        for part, (text, start) in enumerate(zip(texts, starts, strict=True))
        for character in range(len(text))
    )
    special = tokenizer.get_special_tokens_mask(*(list(text) for text in texts))
    return [None if each else next(places) for each in special]


def words_of(text: str) -> list[int]:
    """Which word each character belongs to; spaces between words count as words."""
    changes = (int(one.isspace() != other.isspace()) for one, other in pairwise(text))
    return list(accumulate(changes, initial=0)) if text else []
