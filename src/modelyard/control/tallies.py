"""What the control loop has done so far, in numbers; and what there is now. Owns no decision."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelyard.control.placement import MemoryHolder
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.states import ReplicaState
from modelyard.engine.base import Device, Need, Node, Place, Sighting
from modelyard.protocol import CacheUse, Work
from modelyard.tallies import BATCH_SIZES, ByLabel, Histogram

EVICTIONS_KEPT = 100


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


@dataclass(frozen=True, slots=True)
class Eviction:
    """An idle replica that had to leave its place. `need`: what it had reserved there; `reason`: as its cluster's log
    says it."""

    at: datetime
    replica_id: str
    account_id: str
    model_id: str
    place: Place
    need: Need
    reason: str


@dataclass(slots=True)
class Tallies:
    """Since the server's start. `replicas`: by model; `evictions`: replicas that had to make room for another,
    `evicted_from`: how many by node, `evicted`: the newest of them, the last one last."""

    replicas: ByLabel[ReplicaTally] = field(default_factory=lambda: ByLabel(ReplicaTally))
    evictions: int = 0
    evicted_from: Counter[str] = field(default_factory=Counter)
    evicted: deque[Eviction] = field(default_factory=lambda: deque(maxlen=EVICTIONS_KEPT))

    def add_eviction(self, eviction: Eviction) -> None:
        """One more."""
        self.evictions += 1
        self.evicted_from[eviction.place.node] += 1
        self.evicted.append(eviction)


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """What one model's clusters do at this moment, all accounts together. `replicas`: how many, by state; `cache`: what
    is held of texts, where it is a model that keeps such."""

    in_flight: int
    queued: int
    replicas: Mapping[str, int]
    cache: CacheUse | None = None


@dataclass(frozen=True, slots=True)
class ClusterLoad:
    """What one cluster does at this moment. `replicas`: those that have memory reserved, `memory_bytes` in all, on
    devices too."""

    account_id: str
    model_id: str
    in_flight: int
    queued: int
    replicas: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ReplicaUse:
    """One replica at this moment. `reserved`: for it at its place, `held`: what it was last seen to hold there; both
    none without a place. `in_flight`: its requests."""

    id: str
    account_id: str
    model_id: str
    state: ReplicaState
    place: Place | None
    reserved: Need
    held: Need
    in_flight: int


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory of a node or device, in bytes: what all replicas there may hold, what is reserved for them, what they
    hold. `accepting`: it takes new replicas. `replicas`: how many there are."""

    budget: int
    reserved: int
    held: int
    accepting: bool = True
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class NodeMemory(MemoryUse):
    """A node's own. `devices`: its accelerators', by name, of which the most counts that replicas have held."""

    devices: Mapping[str, MemoryUse] = field(default_factory=dict)


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


def add_load(found: dict[str, ModelLoad], managed: ManagedCluster) -> None:
    """Adds a cluster that has a replica or a request to what is found of each model."""
    load, states = managed.route.load(), Counter(str(state) for state in managed.states())
    if states or load.in_flight or load.queued:
        own = ModelLoad(load.in_flight, load.queued, states, cache_of(managed))
        before = found.get(managed.cluster.model_id)
        found[managed.cluster.model_id] = own if before is None else add_loads(before, own)


def load_of(managed: ManagedCluster) -> ClusterLoad | None:
    """None: it has no replica and no request."""
    load = managed.route.load()
    if not managed.replicas and not load.total:
        return None
    placed = [each for each in managed.replicas.values() if each.place is not None]
    memory_bytes = sum(each.reserved_bytes + each.reserved_device_bytes for each in placed)
    cluster = managed.cluster
    return ClusterLoad(cluster.account_id, cluster.model_id, load.in_flight, load.queued, len(placed), memory_bytes)


def replicas_of(managed: ManagedCluster, sightings: Mapping[str, Sighting]) -> list[ReplicaUse]:
    """A cluster's, the oldest first."""
    return [
        ReplicaUse(
            replica.id,
            managed.cluster.account_id,
            managed.cluster.model_id,
            replica.state,
            replica.place,
            Need(replica.reserved_bytes, replica.reserved_device_bytes),
            held_by(replica, sightings),
            managed.route.in_flight(replica.id),
        )
        for replica in managed.replicas.values()
    ]


def held_by(replica: Replica, sightings: Mapping[str, Sighting]) -> Need:
    """What a replica was last seen to hold."""
    seen = sightings.get(replica.id)
    return Need(0) if seen is None else Need(seen.memory_bytes or 0, seen.device_bytes or 0)


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


class MemorySums:
    """What is reserved and held on nodes and devices, of those that were added."""

    def __init__(self, sightings: Mapping[str, Sighting]) -> None:
        """`sightings`: of all replicas, by id."""
        self._sightings = sightings
        self._reserved: Counter[Place] = Counter()
        self._held: Counter[Place] = Counter()
        self._replicas: Counter[Place] = Counter()

    def add_other(self, other: MemoryHolder) -> None:
        """Adds what has memory reserved and is no replica."""
        if other.place is not None:
            self._reserved.update(shares_of(other.place, other.need))

    def add(self, managed: ManagedCluster) -> None:
        """Adds a cluster's replicas."""
        for replica in managed.replicas.values():
            if replica.place is not None:
                need = Need(replica.reserved_bytes, replica.reserved_device_bytes)
                self._reserved.update(shares_of(replica.place, need))
                self._held.update(shares_of(replica.place, held_by(replica, self._sightings)))
                self._replicas.update(replica.place.parts)

    def of(self, nodes: Iterable[Node]) -> dict[str, NodeMemory]:
        """By node."""
        return {
            node.name: NodeMemory(
                node.memory_bytes,
                self._reserved[Place(node.name)],
                self._held[Place(node.name)],
                node.accepting,
                self._replicas[Place(node.name)],
                {
                    device.name: self._use_of(Place(node.name, (device.name,)), device, node.accepting)
                    for device in node.devices
                },
            )
            for node in nodes
        }

    def _use_of(self, place: Place, device: Device, node_accepts: bool) -> MemoryUse:
        accepting = node_accepts and device.accepting
        return MemoryUse(
            device.memory_bytes, self._reserved[place], self._held[place], accepting, self._replicas[place]
        )


def shares_of(place: Place, need: Need) -> Mapping[Place, int]:
    """What a replica takes up of its node, and of each of its devices."""
    node, *devices = place.parts
    return {node: need.memory_bytes} | dict.fromkeys(devices, need.share_bytes(len(devices)))
