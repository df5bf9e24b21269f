"""Where tokens are in a text, for tokenizers that have no fast form, which would tell: each is looked up in the text.

A token that the text does not hold as it is written, such as an unknown one, is an empty stretch at its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

Offsets = Sequence[tuple[int, int]]
"""Each token's characters, start and end."""
_SAMPLE = "a字"
_MARKS = ("##", "▁")
"""What tokens begin with that is not of the text; XLM's end with the other."""
_WORD_END = "</w>"


def reads_characters(tokenizer: Any) -> bool:
    """Whether the tokenizer's ids are the code points of a text's characters, as CANINE's are."""
    return bool(tokenizer.convert_tokens_to_ids(list(_SAMPLE)) == [ord(each) for each in _SAMPLE])


def find_offsets(tokenizer: Any, text: str) -> Offsets:
    """Where the text's tokens are, special ones left out."""
    if reads_characters(tokenizer):
        return [(place, place + 1) for place in range(len(text))]
    small = text.lower() if len(text.lower()) == len(text) else text
    offsets: list[tuple[int, int]] = []
    end, is_known = 0, True
    for token in tokenizer.tokenize(text):
        piece = _spelled(token).lower()
        start = small.find(piece, end) if piece else -1
        # What is not directly behind the token before is only trusted where that one was not found.
        is_known = start >= 0 and (not is_known or not text[end:start].strip())
        start = start if is_known else end
        end = start + len(piece) if is_known else end
        offsets.append((start, end))
    return offsets


def _spelled(token: str) -> str:
    """The token without marks for where words begin and end."""
    for mark in _MARKS:
        token = token.removeprefix(mark)
    return token.removesuffix(_WORD_END)


def cut_tokens(count: int, room: int | None, shared: int) -> Sequence[range]:
    """`count` tokens in stretches of at most `room`, each with `shared` of the one before."""
    if room is None or count <= room:
        return [range(count)]
    return [range(first, min(first + room, count)) for first in range(0, count - shared, room - shared)]


def words_of(text: str) -> list[int]:
    """Which word each character belongs to, and one more for the text's end; spaces between words count as words."""
    changes = (int(one.isspace() != other.isspace()) for one, other in pairwise(text))
    words = list(accumulate(changes, initial=0))
    return [*words, words[-1]]
