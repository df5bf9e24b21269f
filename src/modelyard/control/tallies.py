"""What the control loop has done so far, in numbers; and what there is now. Owns no decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from modelyard.control.placement import MemoryHolder
from modelyard.control.replicas import ManagedCluster
from modelyard.engine.base import Node, Sighting
from modelyard.protocol import CacheUse, Work
from modelyard.tallies import BATCH_SIZES, ByLabel, Histogram


@dataclass(slots=True)
class ReplicaTally:
    """What became of one model's replicas. `boots`: the seconds from launch to ready; `failures`: how many failed;
    `batches`: the calls in each batch that they ran; `places`: how many there was place for in all of these."""

    boots: Histogram = field(default_factory=Histogram)
    failures: int = 0
    batches: Histogram = field(default_factory=lambda: Histogram(BATCH_SIZES))
    places: int = 0

    def add_work(self, before: Work, now: Work) -> None:
        """Adds what a worker has done since it told `before`. Counts that have shrunk, which a worker's never do, add
        nothing."""
        if len(now.batches) == len(BATCH_SIZES) + 1:
            known = before.batches or (0,) * len(now.batches)
            grown = [max(0, more - less) for more, less in zip(now.batches, known, strict=True)]
            self.batches.add(grown, max(0, now.calls - before.calls))
            self.places += max(0, now.places - before.places)


@dataclass(slots=True)
class Tallies:
    """Since the server's start. `replicas`: by model; `evictions`: replicas that had to make room for another."""

    replicas: ByLabel[ReplicaTally] = field(default_factory=lambda: ByLabel(ReplicaTally))
    evictions: int = 0


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """What one model's clusters do at this moment, all accounts together. `replicas`: how many, by state; `cache`: what
    is held of texts, where it is a model that keeps such."""

    in_flight: int
    queued: int
    replicas: Mapping[str, int]
    cache: CacheUse | None = None


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """A node's memory in bytes: what all replicas there may hold, what is reserved for them, what they hold.
    `accepting`: it takes new replicas. `replicas`: how many it runs."""

    budget: int
    reserved: int
    held: int
    accepting: bool = True
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What control does and has done. `unwritten`: records that wait for the store, the oldest for `lag_s`."""

    warm: bool
    clusters: int
    models: Mapping[str, ModelLoad]
    nodes: Mapping[str, NodeMemory]
    unwritten: int
    lag_s: float
    tallies: Tallies


def loads_of(clusters: Iterable[ManagedCluster]) -> dict[str, ModelLoad]:
    """By model, those that have a replica or a request."""
    found: dict[str, ModelLoad] = {}
    for managed in clusters:
        load, states = managed.route.load(), Counter(str(state) for state in managed.states())
        if states or load.in_flight or load.queued:
            own = ModelLoad(load.in_flight, load.queued, states, cache_of(managed))
            before = found.get(managed.cluster.model_id)
            found[managed.cluster.model_id] = own if before is None else add_loads(before, own)
    return found


def add_loads(one: ModelLoad, other: ModelLoad) -> ModelLoad:
    """Both together."""
    replicas = Counter(one.replicas) + Counter(other.replicas)
    caches = [each.cache for each in (one, other) if each.cache is not None]
    return ModelLoad(one.in_flight + other.in_flight, one.queued + other.queued, replicas, add_caches(caches))


def cache_of(managed: ManagedCluster) -> CacheUse | None:
    """What the cluster's replicas hold of texts together."""
    links = [each.link for each in managed.replicas.values() if each.link is not None]
    return add_caches([cache for link in links if (cache := link.work.cache) is not None])


def add_caches(caches: Sequence[CacheUse]) -> CacheUse | None:
    """All together; None where there is none."""
    if not caches:
        return None
    return CacheUse(
        sum(each.used for each in caches), sum(each.kept for each in caches), sum(each.room for each in caches)
    )


def memory_of(
    nodes: Iterable[Node],
    clusters: Iterable[ManagedCluster],
    others: Iterable[MemoryHolder],
    sightings: Mapping[str, Sighting],
) -> dict[str, NodeMemory]:
    """By node. `others`: what has memory reserved and is no replica."""
    reserved: Counter[str] = Counter()
    held: Counter[str] = Counter()
    replicas: Counter[str] = Counter()
    for other in others:
        if other.place is not None:
            reserved[other.place.node] += other.memory_bytes
    for replica in (each for managed in clusters for each in managed.replicas.values()):
        if replica.place is not None:
            sighting = sightings.get(replica.id)
            replicas[replica.place.node] += 1
            reserved[replica.place.node] += replica.reserved_bytes
            held[replica.place.node] += (sighting.memory_bytes or 0) if sighting is not None else 0
    return {
        node.name: NodeMemory(
            node.memory_bytes, reserved[node.name], held[node.name], node.accepting, replicas[node.name]
        )
        for node in nodes
    }
