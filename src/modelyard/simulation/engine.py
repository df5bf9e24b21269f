"""Machines and replicas that are only reckoned with: the engine's contract, where boots and requests take virtual time.

Owns what each node holds. Nothing runs here; nodes fail and come back as a seed says.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.random import Generator

from modelyard.engine.base import Engine, Node, OnStep, Phase, Place, ReplicaLog, Sighting, Stray
from modelyard.engine.link import Exchange, ReplicaLink
from modelyard.engine.sightings import Sightings
from modelyard.errors import ModelRefused, ReplicaLost
from modelyard.records.deaths import Death
from modelyard.records.models import ModelCard, OnProgress
from modelyard.records.replicas import ReplicaSpec
from modelyard.records.variants import ExportOrder
from modelyard.units import GIB


@dataclass(frozen=True, slots=True)
class Fleet:
    """The machines, and how long things take on them.

    `fails_every_s`: mean time after which a node fails; 0: none does. `repair_s`: until it is back, empty.
    `server_fails_every_s`: mean time after which the server that leads dies, and the next one follows; 0: there is one,
    which never does. `start_s`: of a process. `load_bytes_per_s`, `fetch_bytes_per_s`: at which weights are loaded, and
    before that copied to a node that has not got them yet. `slots`: requests that a replica takes at once.
    """

    nodes: int = 10
    node_bytes: int = 64 * GIB
    fails_every_s: float = 0.0
    repair_s: float = 1800.0
    server_fails_every_s: float = 0.0
    start_s: float = 0.2
    load_bytes_per_s: float = 1.0 * GIB
    fetch_bytes_per_s: float = 0.25 * GIB
    stop_s: float = 0.1
    slots: int = 4


class SimulatedLink(ReplicaLink):
    """A replica's requests, which are nothing but time."""

    def __init__(self) -> None:
        self._closed = False
        self._under_way: set[asyncio.Future[None]] = set()

    @property
    def closed(self) -> bool:
        return self._closed

    async def serve(self, duration_s: float) -> None:
        """Works on a request for so long. Raises ReplicaLost when the replica ends meanwhile."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._under_way.add(done)
        timer = loop.call_later(duration_s, done.set_result, None)
        try:
            await done
        finally:
            timer.cancel()
            self._under_way.discard(done)

    def close(self) -> None:
        """The replica has ended, and with it all that it worked on."""
        self._closed = True
        for each in self._under_way:
            if not each.done():
                each.set_exception(ReplicaLost("The replica ended."))

    def request(self, fields: dict[str, Any], params: dict[str, Any], *, stream: bool, timed: bool = False) -> Exchange:
        """Raises ReplicaLost: there is no worker; see `serve`."""
        raise ReplicaLost("A simulated replica has no worker.")

    async def find_death(self, timeout_s: float) -> Death | None:
        return None


@dataclass(eq=False, slots=True)
class SimulatedReplica:
    """What a node holds of one. `timer`: its next phase."""

    spec: ReplicaSpec
    place: Place
    memory_bytes: int
    link: SimulatedLink
    timer: asyncio.TimerHandle | None = None


class SimulatedEngine(Engine):
    """The Engine contract on a virtual clock."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._up = {f"node-{number}": Node(f"node-{number}", fleet.node_bytes) for number in range(fleet.nodes)}
        self._nodes = tuple(self._up.values())
        self._held_bytes: defaultdict[str, int] = defaultdict(int)
        self._on: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._files: defaultdict[str, set[str]] = defaultdict(set)
        self._replicas: dict[str, SimulatedReplica] = {}
        self._sightings = Sightings()
        self._on_change: Callable[[], None] = lambda: None
        self._counted_at = 0.0
        self.held_bytes = 0
        self.peak_bytes = 0
        self.byte_s = 0.0
        """Bytes held, times the seconds for which they were; see `count`."""
        self.launches = 0
        self.node_failures = 0
        self.fullest = 0.0
        """The share of its memory that a node held at most."""

    # --- the contract ---

    async def start(self) -> None:
        """There is nothing to get ready."""

    async def lead(self, token: int) -> None:
        """There is one server, whose replicas end with it."""

    async def close(self) -> None:
        for replica_id in list(self._replicas):
            self._end(replica_id, "stopped")

    @property
    def warm(self) -> bool:
        return True

    def nodes(self) -> tuple[Node, ...]:
        return self._nodes

    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        if spec.replica_id in self._sightings:
            return
        self.launches += 1
        self._see(Sighting(spec.replica_id, Phase.STARTING, place))
        if place.node not in self._up:
            self._see(Sighting(spec.replica_id, Phase.GONE, place, reason="its node is gone", host_died=True))
            return
        replica = SimulatedReplica(spec, place, spec.reserved_bytes or 0, SimulatedLink())
        self._replicas[spec.replica_id] = replica
        self._on[place.node][spec.replica_id] = None
        self._hold(place.node, replica.memory_bytes)
        load_s = replica.memory_bytes / self._fleet.load_bytes_per_s
        if place.node not in self._files[spec.model_id]:
            self._files[spec.model_id].add(place.node)
            load_s += replica.memory_bytes / self._fleet.fetch_bytes_per_s
        replica.timer = asyncio.get_running_loop().call_later(self._fleet.start_s, self._load, replica, load_s)

    async def stop(self, replica_id: str, grace_s: float) -> None:
        if replica_id in self._replicas:
            if grace_s:
                await asyncio.sleep(min(grace_s, self._fleet.stop_s))
            self._end(replica_id, "stopped")

    def sightings(self) -> Sightings:
        return self._sightings

    def forget(self, replica_id: str) -> None:
        self._sightings.forget(replica_id)

    def watch(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def end_strays(self, strays: Iterable[Stray]) -> int:
        return 0

    async def prepare(self, card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        """Models' files are in a folder that all nodes reach; what a node has not read yet, its first launch copies."""
        return card.path or Path("/")

    def nodes_with(self, card: ModelCard) -> Collection[str]:
        return self._files[card.model_id]

    async def read_logs(self, folder: str, count: int) -> Sequence[ReplicaLog]:
        return []

    async def export(self, order: ExportOrder, place: Place, on_step: OnStep) -> dict[str, Any]:
        raise ModelRefused("Nothing is exported in a simulation.")

    # --- what happens ---

    async def fail_nodes(self, dice: Generator) -> None:
        """Ends nodes, and brings them back, for as long as it is not cancelled."""
        mean_s = self._fleet.fails_every_s / self._fleet.nodes
        names = list(self._up)
        while True:
            await asyncio.sleep(dice.exponential(mean_s))
            name = names[dice.integers(len(names))]
            if name in self._up:
                self._fail(name)
                asyncio.get_running_loop().call_later(self._fleet.repair_s, self._repair, name)

    def count(self) -> None:
        """Brings `byte_s` up to this moment."""
        now = asyncio.get_running_loop().time()
        self.byte_s += self.held_bytes * (now - self._counted_at)
        self._counted_at = now

    def _fail(self, name: str) -> None:
        self.node_failures += 1
        del self._up[name]
        self._nodes = tuple(self._up.values())
        for replica_id in list(self._on[name]):
            self._end(replica_id, f"{name} failed", host_died=True)
        for nodes in self._files.values():
            nodes.discard(name)
        self._on_change()

    def _repair(self, name: str) -> None:
        self._up[name] = Node(name, self._fleet.node_bytes)
        self._nodes = tuple(self._up.values())
        self._on_change()

    def _load(self, replica: SimulatedReplica, load_s: float) -> None:
        replica.timer = asyncio.get_running_loop().call_later(load_s, self._serve, replica)
        self._see(Sighting(replica.spec.replica_id, Phase.LOADING, replica.place))

    def _serve(self, replica: SimulatedReplica) -> None:
        replica.timer = None
        self._see(
            Sighting(
                replica.spec.replica_id,
                Phase.READY,
                replica.place,
                link=replica.link,
                memory_bytes=replica.memory_bytes,
                slots=self._fleet.slots,
            )
        )

    def _end(self, replica_id: str, reason: str, *, host_died: bool = False) -> None:
        replica = self._replicas.pop(replica_id, None)
        if replica is None:
            return
        if replica.timer is not None:
            replica.timer.cancel()
        node = replica.place.node
        self._on[node].pop(replica_id, None)
        self._hold(node, -replica.memory_bytes)
        replica.link.close()
        self._see(Sighting(replica_id, Phase.GONE, replica.place, reason=reason, host_died=host_died))

    def _hold(self, node: str, more_bytes: int) -> None:
        self.count()
        self.held_bytes += more_bytes
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)
        self._held_bytes[node] += more_bytes
        self.fullest = max(self.fullest, self._held_bytes[node] / self._fleet.node_bytes)

    def _see(self, sighting: Sighting) -> None:
        self._sightings[sighting.replica_id] = sighting
        self._on_change()


class LastingEngine(SimulatedEngine):
    """The same where replicas outlive servers."""

    outlives_servers = True

    async def lead(self, token: int) -> None:
        """The next server is shown all that lives, with what it was launched with."""
        for replica_id, replica in self._replicas.items():
            self._see(replace(self._sightings[replica_id], spec=replica.spec))
