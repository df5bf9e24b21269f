"""What a replay came to, in figures. Owns the arithmetic; prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.units import GIB

PERCENTILES = (50, 90, 99, 99.9)


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment of a replay. `held_bytes`: by all replicas; `replicas`: how many; `waiting`: requests that wait."""

    at_s: float
    held_bytes: int
    replicas: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trace under one policy.

    `requests`: all; `failed`: by the code of the error that they got; `retried`: begun again, since a replica was lost.
    `cold_starts`: requests that met no ready replica. `waits_s`: of those that were answered, in order of their
    answers. `server_failures`: deaths of the server that led; `unled_s`: the longest time until the next one did.
    `byte_s`: memory held, times the seconds for which it was; `peak_bytes`: held at once at most; `fullest`: the share
    of its memory that any node held at most. `cost_nano`: the bill of all accounts, in billionths of a US dollar.
    `most_replicas`: of one model at once. `cpu_s`: what the replay took this process.
    """

    policy: str
    requests: int
    failed: Counter[str]
    retried: int
    cold_starts: int
    waits_s: Sequence[float]
    launches: int
    evictions: int
    node_failures: int
    server_failures: int
    unled_s: float
    byte_s: float
    peak_bytes: int
    fullest: float
    cost_nano: int
    most_replicas: int
    samples: Sequence[Sample]
    cpu_s: float = 0.0

    @property
    def cold_share(self) -> float:
        """Of all requests, those that met no ready replica."""
        return self.cold_starts / self.requests

    @property
    def gb_hours(self) -> float:
        """Memory held, in GB times hours."""
        return self.byte_s / GIB / 3600

    def wait_s(self, percentile: float) -> float:
        """How long that share of the requests waited at most; 0 where none was answered."""
        return float(np.percentile(self.waits_s, percentile)) if len(self.waits_s) else 0.0

    def as_data(self) -> dict[str, object]:
        """The figures for programs; the same for the same seed."""
        return {
            "policy": self.policy,
            "requests": self.requests,
            "failed": dict(sorted(self.failed.items())),
            "retried": self.retried,
            "coldStarts": self.cold_starts,
            "coldShare": self.cold_share,
            "waitS": {f"p{each:g}": self.wait_s(each) for each in PERCENTILES} | {"max": self.wait_s(100)},
            "launches": self.launches,
            "evictions": self.evictions,
            "nodeFailures": self.node_failures,
            "serverFailures": self.server_failures,
            "unledS": self.unled_s,
            "gbHours": self.gb_hours,
            "peakBytes": self.peak_bytes,
            "costNanoUsd": self.cost_nano,
        }
