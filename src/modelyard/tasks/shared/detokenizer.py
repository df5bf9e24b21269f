"""Token ids to text, a few ids at a time: never half a character, never more work per token than a constant.

A tokenizer decodes a list of ids; the text of a list is not the texts of its parts put together (leading spaces,
characters of several bytes). So new ids are decoded behind the ids emitted last, and the difference is the new text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

REPLACEMENT = "\ufffd"
"""What decoding shows for bytes that are not, or not yet, a character."""
CONTEXT_TOKENS = 6
"""Ids of the prompt that the first new ids are decoded behind."""
MOST_HELD = 48
"""Ids held back at most: a model that emits garbage must not make every step dearer than the last."""


class Detokenizer:
    """The text of one growing sequence. The pieces put together are the text of all its ids."""

    def __init__(self, tokenizer: Any, prompt: Sequence[int] = (), kept: Sequence[str] = (), **settings: Any) -> None:
        """`prompt`: ids that come before, whose text is not emitted but decides about spaces. `kept`: special tokens
        that are part of the text. `settings`: of the tokenizer's own `decode`."""
        self._tokenizer = tokenizer
        self._settings = settings
        self._dropped = find_dropped(tokenizer, tuple(kept)) if kept else None
        self._context, self._before = self._end_of(prompt)
        self._held: list[int] = []

    def _end_of(self, prompt: Sequence[int]) -> tuple[list[int], str]:
        """The prompt's last ids and their text, cut where a character begins."""
        text = ""
        for length in range(min(CONTEXT_TOKENS, len(prompt)), min(MOST_HELD, len(prompt)) + 1):
            text = self._decode(list(prompt[len(prompt) - length :])) if length else ""
            if REPLACEMENT not in text:
                break
        return list(prompt[-MOST_HELD:][-length:]) if length else [], text

    def push(self, ids: Sequence[int]) -> str:
        """The text that is certain now; empty while a character is incomplete."""
        pieces = []
        for token in ids:
            self._held.append(token)
            pieces.append(self._emit(final=len(self._held) >= MOST_HELD))
        return "".join(pieces)

    def finish(self) -> str:
        """The text still held back; an incomplete character shows as U+FFFD."""
        return self._emit(final=True)

    def _decode(self, ids: list[int]) -> str:
        if self._dropped is not None:
            ids = [token for token in ids if token not in self._dropped]
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=self._dropped is None, clean_up_tokenization_spaces=False, **self._settings
        )
        return text

    def _emit(self, *, final: bool) -> str:
        text = self._decode(self._context + self._held)
        piece: str = text[len(self._before) :]
        if not final and (not piece or piece.endswith(REPLACEMENT)):
            return ""
        if piece:
            self._context = self._held
            self._before = self._decode(self._context)
        self._held = []
        return piece


@lru_cache(maxsize=8)
def find_dropped(tokenizer: Any, kept: tuple[str, ...]) -> frozenset[int] | None:
    """The ids of special tokens, without `kept`; None when none of those is special, and all special ones go. Worked
    out once for each tokenizer, which may have thousands of added tokens."""
    special = {int(token): str(text) for token, text in tokenizer.added_tokens_decoder.items() if text.special}
    special |= {int(token): str(tokenizer.convert_ids_to_tokens(int(token))) for token in tokenizer.all_special_ids}
    dropped = frozenset(token for token, text in special.items() if text not in kept)
    return None if len(dropped) == len(special) else dropped
