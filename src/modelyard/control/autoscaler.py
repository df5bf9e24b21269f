"""How many replicas a cluster should have, from its load and its bounds. Pure: no clock, no I/O, no logging."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from modelyard.records.clusters import Capacity

MARGIN = 0.8
"""Of the target, up to which those that stay may be loaded by what one less leaves to them."""
MOST_WINDOWS = 8
"""As long as a window may become, in windows."""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one cluster at one moment."""

    in_flight: int = 0
    queued: int = 0

    @property
    def total(self) -> int:
        """Requests that have arrived and are not answered."""
        return self.in_flight + self.queued


NO_LOAD = Load()


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


class Demand:
    """How many replicas a load calls for, now and lately: more at once, fewer only after a while.

    One goes only when the load of the whole window fits into those that stay, with MARGIN to spare, so that a load
    that moves about a multiple of the target sends none away. One that is needed again soon after it went has gone in
    vain: then the window doubles, up to MOST_WINDOWS times, and is the old one again when a window of that length has
    passed without such a thing. So a load that comes in waves finds its replicas there from the second wave on.
    """

    def __init__(self) -> None:
        self._kept = Peak()
        self._needed = 0
        self._fell_at = -math.inf
        self._stretch = 1

    def needed(self, now: float, load: int, target: int, window_s: float) -> int:
        """Takes the load of this moment, in requests; the replicas that it and the window's call for, at `target`
        requests each."""
        length_s = self._stretch * window_s
        kept = self._kept.add(now, replicas_for(load, MARGIN * target), length_s)
        needed = max(replicas_for(load, target), min(self._needed, kept))
        if needed < self._needed:
            self._fell_at = now
        elif needed > self._needed and now - self._fell_at <= length_s:
            self._stretch = min(2 * self._stretch, MOST_WINDOWS)
            self._fell_at = -math.inf
        elif self._stretch > 1 and now - self._fell_at > length_s > 0 and math.isfinite(self._fell_at):
            self._stretch, self._fell_at = 1, -math.inf
        self._needed = needed
        return needed

    def changes_at(self, window_s: float) -> float:
        """When fewer may be called for although nothing happens; long ago when nothing will change."""
        return self._kept.forgets_at(self._stretch * window_s)

    def resume(self, now: float, replicas: int) -> None:
        """Begins with so many replicas, which a load called for that another server saw."""
        self._kept.add(now, replicas, 0.0)
        self._needed = replicas

    def clear(self) -> None:
        """Forgets the past."""
        self._kept.clear()
        self._needed, self._fell_at, self._stretch = 0, -math.inf, 1


def replicas_for(load: int, target: float) -> int:
    """Replicas that `load` requests at once keep busy, at `target` requests each."""
    return math.ceil(load / target)


def target_of(slots: int, knee: int | None, slots_per_target: int) -> int:
    """Requests at once that one replica is to have before there is a second one: as many as make its best batch, where
    that was measured, for until then another request costs it little. `slots`: what it takes at once; `knee`: None
    where nobody has measured, and then a share of the slots."""
    return max(1, slots // slots_per_target if knee is None else min(knee, slots))


def wanted_replicas(capacity: Capacity, floor: int, needed: int) -> int:
    """The number of replicas to aim for, within the bounds.

    `floor`: what is kept without load (`desired` while the cluster is in use, `min` once it has idled out).
    `needed`: what `Demand` says.
    """
    return max(capacity.min, min(capacity.max, max(floor, needed)))
