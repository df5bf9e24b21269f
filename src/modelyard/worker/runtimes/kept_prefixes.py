"""Keys and values of rows that have ended, kept for prompts to come that begin with the same tokens.

Owns which rows are kept and which of them go first. Knows no batches: what it holds is nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

Parts = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""One row's keys and values by layer, each (heads, tokens, width of a head)."""

FEWEST_KEPT = 64
"""Rows of fewer tokens are not kept: reading them takes a pass, as reading on does."""
MOST_COPIED = 512
"""Longer rows are taken over with all that was allocated for them, where nothing else lies there: to copy 4,000 tokens
of 27M parameters took seven times as long as a step of the rows beside them."""
MOST_SPARE = 2.0
"""Of what was allocated, the row fills one part in so many at least: what it does not fill cannot be used meanwhile."""
FEWEST_SHARED = 32
"""Fewer tokens than that are read again, together with what follows them: the pass takes as long."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptRow:
    """What the model made of `ids`. `tokens`: for how many memory is held. `weights`: tells those that made it from
    others; None: the model's own."""

    ids: Sequence[int]
    parts: Parts
    tokens: int
    weights: object | None = None


class KeptPrefixes:
    """Rows that have ended; the one that was of use the longest time ago comes first."""

    def __init__(self) -> None:
        self._rows: list[KeptRow] = []
        self.tokens = 0

    def __iter__(self) -> Iterator[KeptRow]:
        return iter(self._rows)

    def wants(self, ids: Sequence[int], weights: object | None = None) -> bool:
        """Whether a row of these tokens is worth keeping: it is long enough, and not a part of one that is kept."""
        alike = [row for row in self._rows if row.weights is weights]
        return len(ids) >= FEWEST_KEPT and all(count_common(row.ids, ids) < len(ids) for row in alike)

    def keep(self, row: KeptRow) -> None:
        """Takes a row, in the place of those that are its beginning."""
        alike = [each for each in self._rows if each.weights is row.weights]
        for other in [each for each in alike if count_common(each.ids, row.ids) == len(each.ids)]:
            self._remove(other)
        self._rows.append(row)
        self.tokens += row.tokens

    def note_use(self, row: KeptRow) -> None:
        """Has a row go last."""
        self._rows.remove(row)
        self._rows.append(row)

    def drop_until(self, tokens: int) -> None:
        """Lets rows go until at most so many tokens are held."""
        while self._rows and self.tokens > tokens:
            self._remove(self._rows[0])

    def _remove(self, row: KeptRow) -> None:
        self._rows.remove(row)
        self.tokens -= row.tokens


def count_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two rows begin with alike. Compares whole stretches, since that costs no turn of the interpreter
    for each token."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
