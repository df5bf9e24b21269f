"""What charts show of the past: a cluster's load and answers, a machine's memory, each in one minute or one hour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

MINUTE_S = 60
HOUR_S = 3600
LATENCY_S = tuple(0.001 * 1.5**step for step in range(32))
"""Upper bounds of what latencies are counted in, from 1 ms to five minutes: a percentile is off by a fifth at most."""


class ClusterPoint(Struct, frozen=True, gc=False):  # ten thousand each minute, which collections need not look through
    """An account's cluster of a model in the `step` that begins `at`.

    Counts: `requests` that were over, those of them that `failed` by a fault of the server's, `waited_us` the time that
    all waited for a replica, `latency` how many that were answered took up to each of LATENCY_S (the last: longer;
    zeros at the end are left out). The most at any moment that was looked at: `in_flight`, `queued`, `replicas` and the
    `memory_bytes` that they had reserved.
    """

    account_id: str
    model_id: str
    at: datetime
    requests: int = 0
    failed: int = 0
    waited_us: int = 0
    latency: tuple[int, ...] = ()
    in_flight: int = 0
    queued: int = 0
    replicas: int = 0
    memory_bytes: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """Whose it is."""
        return (self.account_id, self.model_id)

    def merge(self, other: ClusterPoint) -> ClusterPoint:
        """Both together, at this one's moment."""
        return replace(
            self,
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
            waited_us=self.waited_us + other.waited_us,
            latency=tuple(map(sum, zip_longest(self.latency, other.latency, fillvalue=0))),
            in_flight=max(self.in_flight, other.in_flight),
            queued=max(self.queued, other.queued),
            replicas=max(self.replicas, other.replicas),
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
        )


class NodePoint(Struct, frozen=True, gc=False):
    """A machine's memory, or that of its accelerator `device` (empty: the machine's own), in the step that begins `at`:
    the most that was `reserved_bytes` and `held_bytes`, of `budget_bytes`; `evictions`: replicas that had to leave it
    for others."""

    node: str
    device: str
    at: datetime
    budget_bytes: int = 0
    reserved_bytes: int = 0
    held_bytes: int = 0
    evictions: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """Whose it is."""
        return (self.node, self.device)

    def merge(self, other: NodePoint) -> NodePoint:
        """Both together, at this one's moment."""
        return replace(
            self,
            budget_bytes=max(self.budget_bytes, other.budget_bytes),
            reserved_bytes=max(self.reserved_bytes, other.reserved_bytes),
            held_bytes=max(self.held_bytes, other.held_bytes),
            evictions=self.evictions + other.evictions,
        )


P = TypeVar("P", ClusterPoint, NodePoint)


def begin_of(moment: datetime, step_s: int) -> datetime:
    """When the step began in which a moment lies."""
    return datetime.fromtimestamp(moment.timestamp() // step_s * step_s, UTC)


def roll_up(points: Iterable[P], step_s: int) -> list[P]:
    """The same in longer steps, by owner and time."""
    found: dict[tuple[tuple[str, ...], datetime], P] = {}
    for point in points:
        at = begin_of(point.at, step_s)
        before = found.get((point.key, at))
        found[point.key, at] = replace(point, at=at) if before is None else before.merge(point)
    return [found[key] for key in sorted(found)]


def trimmed(counts: Sequence[int]) -> tuple[int, ...]:
    """Without the zeros at the end."""
    last = max((place for place, count in enumerate(counts, 1) if count), default=0)
    return tuple(counts[:last])


def percentile_s(latency: Sequence[int], percent: float) -> float | None:
    """The latency that so many per cent of the answers did not exceed, as the bound above it; None without answers.
    Those beyond the last bound count as that."""
    wanted = sum(latency) * percent / 100
    below = 0
    for bound, count in zip_longest(LATENCY_S, latency):
        below += count or 0
        if count and below >= wanted:
            return bound or LATENCY_S[-1]
    return None
