"""Writes down what charts show: each minute, what clusters and machines did in it.

Counts are exact, as metrics have them; what goes up and down is looked at every ten seconds. A cluster without replicas
and requests, and a machine without replicas, leave no row. What a server counted that is killed in a minute is lost
for the charts, never for a bill. Loop thread only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.control.plane import Plane
from modelyard.control.tallies import ClusterLoad, MemoryUse, NodeMemory
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
                await self.look()
        finally:
            self.write()

    async def look(self) -> None:
        """Takes what there is at this moment; hands the minute before to the journal when another one has begun."""
        minute = begin_of(self._clock.now(), MINUTE_S)
        if minute != self._minute:
            self.write()
            self._minute = minute
            if (hour := begin_of(minute, HOUR_S)) != self._hour:
                self._hour = hour
                self._journal.submit(partial(self._history.roll_up, minute))
        async for load in self._plane.cluster_loads():
            self._take(load)
        for node in self._node_points(await self._plane.nodes()):
            earlier = self._nodes.get(node.key)
            self._nodes[node.key] = node if earlier is None else earlier.merge(node)

    def write(self) -> None:
        """Hands over what was taken since it last did."""
        clusters, self._clusters = self._clusters, {}
        nodes, self._nodes = self._nodes, {}
        counted = self._tallies.take_clusters()
        for name, count in self._take_evictions():
            node = nodes.get((name, "")) or NodePoint(name, "", self._minute)
            nodes[name, ""] = node.merge(NodePoint(name, "", self._minute, evictions=count))
        if clusters or counted or nodes:
            add = partial(add_minute, self._history, self._minute, clusters, counted, list(nodes.values()))
            self._journal.submit(add)

    def _take(self, load: ClusterLoad) -> None:
        key = load.account_id, load.model_id
        before = self._clusters.get(key)
        if before is not None and is_within(load, before):
            return  # as most are: ten thousand points made anew at each look are what collections of garbage go through
        point = ClusterPoint(
            load.account_id,
            load.model_id,
            self._minute,
            in_flight=load.in_flight,
            queued=load.queued,
            replicas=load.replicas,
            memory_bytes=load.memory_bytes,
        )
        self._clusters[key] = point if before is None else before.merge(point)

    def _node_points(self, nodes: Mapping[str, NodeMemory]) -> Iterator[NodePoint]:
        for name, memory in nodes.items():
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


def is_within(load: ClusterLoad, point: ClusterPoint) -> bool:
    """Whether the point has seen as much of all as there is now."""
    return (
        load.in_flight <= point.in_flight
        and load.queued <= point.queued
        and load.replicas <= point.replicas
        and load.memory_bytes <= point.memory_bytes
    )


def add_minute(
    history: History,
    minute: datetime,
    clusters: Mapping[tuple[str, ...], ClusterPoint],
    counted: Mapping[tuple[str, str], ClusterTally],
    nodes: Sequence[NodePoint],
) -> None:
    """Writes a minute: what was looked at and what was counted of each cluster as one, and the machines. Blocking."""
    points = dict(clusters)
    for key, tally in counted.items():
        point = counted_point(*key, minute, tally)
        points[key] = point.merge(points[key]) if key in points else point
    history.add(list(points.values()), nodes)


def counted_point(account_id: str, model_id: str, minute: datetime, tally: ClusterTally) -> ClusterPoint:
    """What was counted of a cluster in a minute."""
    return ClusterPoint(
        account_id, model_id, minute, tally.requests, tally.failed, tally.waited_us, trimmed(tally.latency.counts)
    )
