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

    def __init__(self) -> None:
        self._left = float(MOST_STATUSES)
        self._at = time.monotonic()

    def take(self) -> None:
        """Counts one. Raises BrokenStream when they come faster than they ever need to."""
        now = time.monotonic()
        self._left = min(MOST_STATUSES, self._left + (now - self._at) * STATUSES_PER_S) - 1
        self._at = now
        if self._left < 0:
            raise BrokenStream(f"more than {STATUSES_PER_S} status updates in a second")
