"""Writes down what charts show: each minute, what clusters and machines did in it.

Counts are exact, as metrics have them; what goes up and down is looked at every ten seconds. A cluster without replicas
and requests, and a machine without replicas, leave no row. What a server counted that is killed in a minute is lost
for the charts, never for a bill. Loop thread only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.control.plane import Plane
from modelyard.control.tallies import MemoryUse
from modelyard.gateway.metrics import ClusterTally, InferenceTallies
from modelyard.records.history import HOUR_S, MINUTE_S, ClusterPoint, NodePoint, begin_of, trimmed
from modelyard.store.history import History

LOOK_EVERY_S = 10.0


class HistoryRecorder:
    """Of the server that owns the clusters."""

    def __init__(
        self, tallies: InferenceTallies, plane: Plane, journal: Journal, history: History, clock: Clock
    ) -> None:
        self._tallies = tallies
        self._plane = plane
        self._journal = journal
        self._history = history
        self._clock = clock
        self._minute = begin_of(clock.now(), MINUTE_S)
        self._hour: datetime | None = None
        """The last one that was begun while this server looked, whose forerunners are rolled up."""
        self._clusters: dict[tuple[str, ...], ClusterPoint] = {}
        self._nodes: dict[tuple[str, ...], NodePoint] = {}
        self._evictions = dict(plane.count_evictions())

    async def record_forever(self) -> None:
        """Looks, and writes once a minute is over, until cancelled: then it writes what there is of the last."""
        try:
            while True:
                await asyncio.sleep(LOOK_EVERY_S - self._clock.now().timestamp() % LOOK_EVERY_S)
                self.look()
        finally:
            self.write()

    def look(self) -> None:
        """Takes what there is at this moment; hands the minute before to the journal when another one has begun."""
        minute = begin_of(self._clock.now(), MINUTE_S)
        if minute != self._minute:
            self.write()
            self._minute = minute
            if (hour := begin_of(minute, HOUR_S)) != self._hour:
                self._hour = hour
                self._journal.submit(partial(self._history.roll_up, minute))
        for point in self._points():
            before = self._clusters.get(point.key)
            self._clusters[point.key] = point if before is None else before.merge(point)
        for node in self._node_points():
            earlier = self._nodes.get(node.key)
            self._nodes[node.key] = node if earlier is None else earlier.merge(node)

    def write(self) -> None:
        """Hands over what was taken since it last did."""
        clusters, self._clusters = self._clusters, {}
        nodes, self._nodes = self._nodes, {}
        for key, tally in self._tallies.take_clusters().items():
            counted = counted_point(*key, self._minute, tally)
            clusters[key] = counted.merge(clusters[key]) if key in clusters else counted
        for name, count in self._take_evictions():
            node = nodes.get((name, "")) or NodePoint(name, "", self._minute)
            nodes[name, ""] = node.merge(NodePoint(name, "", self._minute, evictions=count))
        if clusters or nodes:
            self._journal.submit(partial(self._history.add, list(clusters.values()), list(nodes.values())))

    def _points(self) -> Iterator[ClusterPoint]:
        for load in self._plane.cluster_loads():
            yield ClusterPoint(
                load.account_id,
                load.model_id,
                self._minute,
                in_flight=load.in_flight,
                queued=load.queued,
                replicas=load.replicas,
                memory_bytes=load.memory_bytes,
            )

    def _node_points(self) -> Iterator[NodePoint]:
        for name, memory in self._plane.nodes().items():
            for device, use in {"": memory, **memory.devices}.items():
                if use.reserved or use.held:
                    yield self._node_point(name, device, use)

    def _node_point(self, name: str, device: str, use: MemoryUse) -> NodePoint:
        return NodePoint(name, device, self._minute, use.budget, use.reserved, use.held)

    def _take_evictions(self) -> Iterator[tuple[str, int]]:
        """By node, those that have come since this was asked last."""
        counts = dict(self._plane.count_evictions())
        before, self._evictions = self._evictions, counts
        for name, count in counts.items():
            if count > before.get(name, 0):
                yield name, count - before.get(name, 0)


def counted_point(account_id: str, model_id: str, minute: datetime, tally: ClusterTally) -> ClusterPoint:
    """What was counted of a cluster in a minute."""
    return ClusterPoint(
        account_id, model_id, minute, tally.requests, tally.failed, tally.waited_us, trimmed(tally.latency.counts)
    )
