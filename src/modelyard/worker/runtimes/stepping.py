"""What happens between two tokens of a batch: who gets them, which rows end, which must not end yet.

These are the library's two hooks, called once per step with the whole batch. They hold the state of one `generate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from modelyard.tasks.model import OnTokens


class Rows(StoppingCriteria):  # type: ignore[misc]  # the library is untyped
    """Hands each row's new token to `on_tokens` and ends the rows that are done, while others go on.

    Under beam search and with several sequences per row there is no one next token; then `on_tokens` is called with
    no tokens at each step, so that it can still end the row.
    """

    def __init__(
        self, rows: Sequence[int], longest: Sequence[int], ends: Sequence[int], on_tokens: OnTokens, *, sequences: int
    ) -> None:
        """`rows`: what `on_tokens` calls each row. `longest`: most new tokens of each. `ends`: ids that end a row."""
        self.tokens: list[list[int]] = [[] for _ in rows]
        self.steps_rows = sequences == 1
        self.prompt_width = 0
        self._rows = rows
        self._longest = longest
        self._ends = frozenset(ends)
        self._on_tokens = on_tokens
        self._done = [False] * len(rows)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """The done mask after a step. `input_ids`: (rows × sequences, prompt + new tokens)."""
        if not self.prompt_width:
            self.prompt_width = input_ids.shape[1] - 1
        made = input_ids.shape[1] - self.prompt_width
        newest = input_ids[:, -1].tolist() if self.steps_rows else [None] * len(self._rows)
        for index, token in enumerate(newest):
            if not self._done[index]:
                self._done[index] = self._step(index, token) or made >= self._longest[index]
        done = torch.tensor(self._done, device=input_ids.device)
        return done.repeat_interleave(input_ids.shape[0] // len(self._rows))

    def _step(self, index: int, token: int | None) -> bool:
        """Whether the row ends with this token; None: there is no one token."""
        if token is None:
            return self._on_tokens(self._rows[index], ())
        if token in self._ends:
            return True
        self.tokens[index].append(token)
        return self._on_tokens(self._rows[index], (token,))


class MinimumLengths(LogitsProcessor):  # type: ignore[misc]
    """Forbids the end tokens in each row until that row has its fewest tokens.

    The library's own setting counts from the padded prompt, which differs between rows of a batch.
    """

    def __init__(self, shortest: Sequence[int], ends: Sequence[int]) -> None:
        """`shortest`: fewest new tokens of each row. `ends`: ids that end a row."""
        self._shortest = torch.tensor(shortest)
        self._ends = list(ends)
        self._prompt_width: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores`, (rows × sequences, vocabulary), with the end tokens at minus infinity where it is too early."""
        if self._prompt_width is None:
            self._prompt_width = input_ids.shape[1]
        early = self._shortest > input_ids.shape[1] - self._prompt_width
        if not early.any():
            return scores
        early = early.repeat_interleave(scores.shape[0] // len(early)).to(scores.device)
        scores = scores.clone()
        for end in self._ends:
            scores[early, end] = -torch.inf
        return scores


def trim(sequences: Sequence[list[int]], rows: int, ends: Sequence[int], padding: int | None) -> list[list[list[int]]]:
    """New tokens as the library returns them, grouped by row, each cut at its end token and without padding."""
    each = len(sequences) // rows
    cut = [trim_one(sequence, ends, padding) for sequence in sequences]
    return [cut[row * each : (row + 1) * each] for row in range(rows)]


def trim_one(sequence: list[int], ends: Sequence[int], padding: int | None) -> list[int]:
    """One sequence, up to its first end token, without trailing padding."""
    length = next((index for index, token in enumerate(sequence) if token in ends), len(sequence))
    while length and sequence[length - 1] == padding:
        length -= 1
    return sequence[:length]
