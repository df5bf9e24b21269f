"""How often a worker may tell of itself."""

from __future__ import annotations

import time

from modelyard.wire import BrokenStream

MOST_STATUSES = 100
STATUSES_PER_S = 10
"""How many at once, and how many after that: a worker tells of its memory every two seconds, of each phase, and of what
it has done every second."""


class StatusRate:
    """How often a worker says how it is doing: seldom, whatever happens to it."""

    def __init__(self, what: str = "status updates", most: int = MOST_STATUSES, per_s: float = STATUSES_PER_S) -> None:
        """`what`: it says, `most`: of these at once."""
        self._what, self._most, self._per_s = what, most, per_s
        self._left = float(most)
        self._at = time.monotonic()

    def take(self) -> None:
        """Counts one. Raises BrokenStream when they come faster than they ever need to."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s) - 1
        self._at = now
        if self._left < 0:
            raise BrokenStream(f"more than {self._per_s} {self._what} in a second")
