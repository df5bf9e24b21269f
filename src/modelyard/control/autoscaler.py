"""How many replicas a cluster should have, from its load and its bounds. Pure: no clock, no I/O, no logging."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from modelyard.types import Capacity


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one cluster at one moment."""

    in_flight: int = 0
    queued: int = 0

    @property
    def total(self) -> int:
        """Requests that have arrived and are not answered."""
        return self.in_flight + self.queued


def replicas_for(load: int, target: int) -> int:
    """Replicas that `load` requests at once keep busy, at `target` requests each."""
    return math.ceil(load / target)


def wanted_replicas(capacity: Capacity, floor: int, recent: Iterable[int]) -> int:
    """The number of replicas to aim for.

    `floor`: what is kept without load (`desired` while the cluster is in use, `min` once it has idled out).
    `recent`: the replicas needed at each moment of the stable window, the present one included. Taking their maximum
    means up at once, and down only when nothing in the whole window needed more.
    """
    return max(capacity.min, min(capacity.max, max(floor, max(recent, default=0))))
