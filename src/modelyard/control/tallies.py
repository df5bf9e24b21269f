"""What the control loop has done so far, in numbers; and what there is now. Owns no decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelyard.control.placement import MemoryHolder
from modelyard.control.replicas import ManagedCluster
from modelyard.engine.base import Node, Sighting
from modelyard.tallies import ByLabel, Histogram


@dataclass(slots=True)
class ReplicaTally:
    """What became of one model's replicas. `boots`: the seconds from launch to ready; `failures`: how many failed."""

    boots: Histogram = field(default_factory=Histogram)
    failures: int = 0


@dataclass(slots=True)
class Tallies:
    """Since the server's start. `replicas`: by model; `evictions`: replicas that had to make room for another."""

    replicas: ByLabel[ReplicaTally] = field(default_factory=lambda: ByLabel(ReplicaTally))
    evictions: int = 0


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """What one model's clusters do at this moment, all accounts together. `replicas`: how many, by state."""

    in_flight: int
    queued: int
    replicas: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """A node's memory in bytes: what all replicas there may hold, what is reserved for them, what they hold."""

    budget: int
    reserved: int
    held: int


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
            own = ModelLoad(load.in_flight, load.queued, states)
            before = found.get(managed.cluster.model_id)
            found[managed.cluster.model_id] = own if before is None else add_loads(before, own)
    return found


def add_loads(one: ModelLoad, other: ModelLoad) -> ModelLoad:
    """Both together."""
    replicas = Counter(one.replicas) + Counter(other.replicas)
    return ModelLoad(one.in_flight + other.in_flight, one.queued + other.queued, replicas)


def memory_of(
    nodes: Iterable[Node],
    clusters: Iterable[ManagedCluster],
    others: Iterable[MemoryHolder],
    sightings: Mapping[str, Sighting],
) -> dict[str, NodeMemory]:
    """By node. `others`: what has memory reserved and is no replica."""
    reserved: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for other in others:
        if other.place is not None:
            reserved[other.place.node] += other.memory_bytes
    for replica in (each for managed in clusters for each in managed.replicas.values()):
        if replica.place is not None:
            sighting = sightings.get(replica.id)
            reserved[replica.place.node] += replica.reserved_bytes
            held[replica.place.node] += (sighting.memory_bytes or 0) if sighting is not None else 0
    return {node.name: NodeMemory(node.memory_bytes, reserved[node.name], held[node.name]) for node in nodes}
