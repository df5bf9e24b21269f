"""Numbers that only grow, kept by label: counts, and how often values fell into ranges.

A leaf. Owns how many labels there may be; knows no format in which they are shown. Added to by one thread only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_LABELS = 200
"""Each label costs whoever reads them all some hundred lines."""
OTHERS = "others"
"""Stands for every label that came when there were MOST_LABELS already."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Bounds for what takes between a millisecond (a small classifier) and minutes (a large model's boot)."""
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Bounds for how many run together."""


@dataclass(slots=True)
class Histogram:
    """How often values fell up to each of the bounds, and their sum. `counts`: by bound, each without those below it;
    the last one is of what lies beyond all of them."""

    bounds: Sequence[float] = SECONDS
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, counts: Sequence[int], total: float) -> None:
        """Adds what another one with the same bounds has counted."""
        self.counts = [own + more for own, more in zip(self.counts, counts, strict=True)]
        self.total += total


class ByLabel(Generic[T]):
    """What there is for each label, made when the label is new; for the first MOST_LABELS of them each its own."""

    def __init__(self, make: Callable[[], T], most: int = MOST_LABELS) -> None:
        self._make = make
        self._most = most
        self._kept: dict[str, T] = {}

    def of(self, label: str) -> T:
        """The label's own, or that of all others."""
        kept = self._kept.get(label)
        if kept is None:
            name = label if len(self._kept) < self._most else OTHERS
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = self._make()
        return kept

    def items(self) -> list[tuple[str, T]]:
        """All of them, as they are at this moment."""
        return list(self._kept.items())
