"""How many calls ran together and how long that took, counted by the model's thread as it goes."""

from __future__ import annotations

from modelyard.protocol import CacheUse, Work
from modelyard.tallies import BATCH_SIZES, Histogram


class WorkTally:
    """What one scheduler has done. Counted by one thread at a time; read by any, which may miss the newest batch."""

    def __init__(self) -> None:
        self._sizes = Histogram(BATCH_SIZES)
        self._places = 0

    def note_batch(self, calls: int, places: int) -> None:
        """So many calls have run together, of so many at most."""
        self._sizes.observe(calls)
        self._places += places

    def describe(self, cache: CacheUse | None = None) -> Work:
        """What was counted so far."""
        return Work(tuple(self._sizes.counts), int(self._sizes.total), self._places, cache)
