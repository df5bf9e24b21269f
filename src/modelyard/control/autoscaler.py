"""How many replicas a cluster should have, from its load and its bounds. Pure: no clock, no I/O, no logging."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from modelyard.records.clusters import Capacity


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one cluster at one moment."""

    in_flight: int = 0
    queued: int = 0

    @property
    def total(self) -> int:
        """Requests that have arrived and are not answered."""
        return self.in_flight + self.queued


class Peak:
    """The highest of the values of a window that ends at the latest of them.

    Holds only values that may still become the highest, so that it stays small however often the loop turns.
    """

    def __init__(self) -> None:
        self._falling: deque[tuple[float, int]] = deque()

    def add(self, now: float, value: int, window_s: float) -> int:
        """Takes the value of this moment; returns the highest of the last `window_s`, this one included."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((now, value))
        while self._falling[0][0] < now - window_s:
            self._falling.popleft()
        return self._falling[0][1]

    def forgets_at(self, window_s: float) -> float:
        """When the highest of now leaves the window; long ago when there is none."""
        return self._falling[0][0] + window_s if self._falling and self._falling[0][1] else -math.inf

    def clear(self) -> None:
        """Forgets the past."""
        self._falling.clear()


def replicas_for(load: int, target: int) -> int:
    """Replicas that `load` requests at once keep busy, at `target` requests each."""
    return math.ceil(load / target)


def wanted_replicas(capacity: Capacity, floor: int, needed: int) -> int:
    """The number of replicas to aim for, within the bounds.

    `floor`: what is kept without load (`desired` while the cluster is in use, `min` once it has idled out).
    `needed`: the most that the load called for within the stable window, the present moment included. Taking the peak
    means up at once, and down only when nothing in the whole window needed more.
    """
    return max(capacity.min, min(capacity.max, max(floor, needed)))
