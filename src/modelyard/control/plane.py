"""The front door of control: all that gateway, jobs and consoles may ask about clusters, replicas and their models.

Takes and returns records, never a part of control, so that one day the one who answers may sit in another process. The
one exception is `Route`, which belongs to the server that sends requests. Loop thread only.
"""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from modelyard.control.clusters import Report
from modelyard.control.logs import log_folder
from modelyard.control.parts import Parts
from modelyard.control.pauses import with_pauses
from modelyard.control.placement import Never, Placed, Placement
from modelyard.control.preparation import Prepared, fetch_all
from modelyard.control.replicas import BootSettings, ManagedCluster
from modelyard.control.routes import Route
from modelyard.control.states import ClusterStatus
from modelyard.control.tallies import (
    ClusterLoad,
    Eviction,
    Figures,
    MemorySums,
    ModelLoad,
    NodeMemory,
    ReplicaUse,
    add_load,
    load_of,
    replicas_of,
)
from modelyard.engine.base import Need, OnStep, ReplicaLog
from modelyard.errors import NoCapacity, UnknownCluster
from modelyard.records.clusters import Capacity, Changes, Cluster, Event
from modelyard.records.models import ModelCard, OnProgress
from modelyard.records.variants import ExportOrder

STOPPED = frozenset({ClusterStatus.STOPPING, ClusterStatus.STOPPED})
"""The statuses in which a cluster takes no requests before it is asked for again."""
TRIAL_TIMEOUT_S = 365 * 24 * 3600
"""A trial is ended by who began it, never for being idle."""
TRIAL_ENDS_S = 10.0
"""How long a trial's worker may take to end."""
LOOKED_AT_ONCE = 50
"""Clusters after which requests come first again, where all are gone through: half a millisecond at most."""
POLL_S = 0.5
"""How soon memory is seen that has become free."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What everything together is doing. `warm`: boots are quick by now. `in_flight`, `queued`: inferences on replicas,
    and those that wait for one. `clusters`: how many there are."""

    warm: bool
    in_flight: int
    queued: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One worker of a model that belongs to no client. `route`: where its requests go."""

    id: str
    route: Route


@dataclass(frozen=True, slots=True)
class TrialFigures:
    """How a trial's worker does. `boot_s`: from its launch until it was ready. `peak_bytes`: the most it has said that
    it held; None while it has said nothing. `peak_device_bytes`: the same on an accelerator, 0 where it uses none.
    `joins`: it begins requests while others run."""

    boot_s: float
    peak_bytes: int | None
    peak_device_bytes: int
    joins: bool = False


class InferencePlane(ABC):
    """The part of the front door that inferences use, which a process beside the one with the plane has too."""

    @abstractmethod
    def find_model(self, account_id: str, model_id: str) -> ModelCard | None:
        """The card of a model whose files are in use, without asking anybody; None: ask `get_model`."""

    @abstractmethod
    async def get_model(self, account_id: str, model_id: str) -> ModelCard:
        """The model's card, if it may be served. Raises UnknownModel, ModelRefused, and what the catalog raises."""

    @abstractmethod
    async def ensure_route(self, account_id: str, model_id: str, capacity: Capacity | None = None) -> Route:
        """Where requests to the account's cluster go; the cluster is made with that capacity (None: the default) when
        there is none.

        One that was given up is worth another try after a while. Raises QuotaExceeded, and as `get_model` does.
        """

    @abstractmethod
    def find_route(self, account_id: str, model_id: str) -> Route | None:
        """What `ensure_route` finds without making anything; None: ask that."""

    @abstractmethod
    async def get_route(self, account_id: str, model_id: str) -> Route:
        """The same for a cluster that runs or is about to. Raises UnknownCluster when there is none, or it has stopped.

        One that was given up is worth another try after a while.
        """

    @abstractmethod
    def end_stuck(self, cluster_id: str, replica_id: str, reason: str) -> None:
        """Ends a replica that no longer does what it is told, as a crash; what it holds besides is lost with it.

        Harmless when it is gone already.
        """


class Plane(InferencePlane):
    """One server's control plane, from outside. An account only ever reaches its own clusters."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._clusters = parts.clusters
        self._desired = parts.desired
        self._preparations = parts.preparations

    async def start(self) -> None:
        """Heals what this server left behind, takes up what is wanted, and begins to make it so."""
        await self._parts.reconciler.start()

    async def close(self) -> None:
        """Stops every replica of this server; what is wanted stays so."""
        await self._parts.reconciler.close()
        await self._preparations.close()

    def _active(self) -> AsyncIterator[ManagedCluster]:
        """The clusters that have something, or something to do; others of the loop have their turns meanwhile."""
        return with_pauses(list(self._desired.active.values()), LOOKED_AT_ONCE)

    async def overview(self) -> Overview:
        """What everything together is doing."""
        in_flight = queued = 0
        async for managed in self._active():
            load = managed.route.load()
            in_flight += load.in_flight
            queued += load.queued
        return Overview(self._parts.engine.warm, in_flight, queued, self._desired.count())

    async def figures(self) -> Figures:
        """What everything is doing and has done, in numbers."""
        parts = self._parts
        models: dict[str, ModelLoad] = {}
        async for managed in self._active():
            for replica in managed.replicas.values():
                parts.records.work(managed, replica)
            if not managed.temporary:
                add_load(models, managed)
        return Figures(
            warm=parts.engine.warm,
            clusters=self._desired.count(),
            models=models,
            nodes=await self.nodes(),
            unwritten=parts.journal.unwritten,
            lag_s=parts.journal.lag_s(),
            tallies=parts.records.tallies,
        )

    async def cluster_loads(self) -> AsyncIterator[ClusterLoad]:
        """What every account's clusters are doing, of those that have a replica or a request."""
        async for managed in self._active():
            if not managed.temporary and (load := load_of(managed)) is not None:
                yield load

    # --- nodes ---

    async def nodes(self) -> Mapping[str, NodeMemory]:
        """By node, what replicas may hold there, and what they do."""
        sums = MemorySums(self._parts.engine.sightings())
        for other in self._parts.boots.held:
            sums.add_other(other)
        async for managed in self._active():
            sums.add(managed)
        return sums.of(self._parts.engine.nodes())

    async def replicas(self) -> Sequence[ReplicaUse]:
        """Every replica there is, of whichever account, those of jobs too; those of one cluster together."""
        sightings = self._parts.engine.sightings()
        found: list[ReplicaUse] = []
        async for managed in self._active():
            found += replicas_of(managed, sightings)
        return found

    def evictions(self) -> Sequence[Eviction]:
        """The newest replicas of this server's that had to leave for others, the last one last."""
        return list(self._parts.records.tallies.evicted)

    def count_evictions(self) -> Mapping[str, int]:
        """By node, how many have had to leave since this server's start."""
        return dict(self._parts.records.tallies.evicted_from)

    async def take_launches(self, node: str, *, accepting: bool, device: str | None = None) -> None:
        """Has a node, or one device of it, take new replicas, or none: then what it runs moves to others as far as
        there is room, each replica once another one is ready in its place. Raises UnknownNode, of a device too."""
        await self._parts.engine.take_launches(node, accepting, device)

    # --- models ---

    def find_model(self, account_id: str, model_id: str) -> ModelCard | None:
        """See InferencePlane; the disk is not asked."""
        state = self._preparations.find(model_id)
        if isinstance(state, Prepared) and self._parts.catalog.may_use(account_id, state.card):
            return state.card
        return None

    async def get_model(self, account_id: str, model_id: str) -> ModelCard:
        """See InferencePlane."""
        return await self._clusters.model(account_id, model_id)

    # --- clusters ---

    async def put(self, account_id: str, model_id: str, changes: Changes, capacity: Capacity | None = None) -> Report:
        """Creates the cluster, or updates and wakes it. `capacity`: what a new one has where the changes do not say;
        None: the default. Raises InvalidRequest, QuotaExceeded, and as `get_model`."""
        return self._report(await self._clusters.put(account_id, model_id, changes, capacity))

    async def patch(self, account_id: str, model_id: str, changes: Changes) -> Report:
        """Changes a cluster; it wakes unless only its timeout changes. Raises UnknownCluster, InvalidRequest."""
        return self._report(await self._clusters.patch(account_id, model_id, changes))

    async def delete(self, account_id: str, model_id: str) -> None:
        """Stops every instance and removes the cluster; returns when they are gone. Raises UnknownCluster."""
        await self._clusters.delete(account_id, model_id)

    async def find(self, account_id: str, model_id: str) -> Report | None:
        """The cluster as it is now; None when there is none."""
        managed = self._clusters.find(account_id, model_id)
        return None if managed is None else self._report(managed)

    async def get(self, account_id: str, model_id: str) -> Report:
        """The cluster as it is now. Raises UnknownCluster."""
        return self._report(self._clusters.get(account_id, model_id))

    async def list(self, account_id: str) -> Sequence[Report]:
        """The account's clusters as they are now, by model id."""
        return [self._report(each) for each in self._clusters.list(account_id)]

    def wanted(self, account_id: str | None, model_id: str | None) -> Sequence[Cluster]:
        """What an account wants (None: what all do), of one model (None: of any), in no order; `find` tells how each of
        them stands. A cluster that is changed is another record from then on."""
        return self._desired.wanted(account_id, model_id)

    def wanted_in_pieces(self, account_id: str | None, model_id: str | None) -> AsyncIterator[Sequence[Cluster]]:
        """The same of thousands, some at a time, so that others of the loop have their turns meanwhile."""
        return self._desired.wanted_in_pieces(account_id, model_id)

    def active(self) -> Collection[str]:
        """The ids of the clusters that have a replica, a request, or something to do: few, however many are wanted."""
        return self._desired.active.keys()

    def has_replica(self, replica_id: str) -> bool:
        """Whether there is one with this id, of any cluster, that has begun to start and has not ended."""
        return self._parts.holdings.find(replica_id) is not None

    async def find_replicas(self, account_id: str, model_id: str) -> Sequence[ReplicaUse]:
        """A cluster's replicas. Raises UnknownCluster."""
        return replicas_of(self._clusters.get(account_id, model_id), self._parts.engine.sightings())

    @property
    def events_written(self) -> int:
        """Grows with every line of a log that can be read."""
        return self._parts.journal.events_written

    async def events(self, account_id: str, model_id: str | None, *, after: int | None, limit: int) -> Sequence[Event]:
        """A cluster's log (None: those of all of the account's), oldest first, what was just noted included. `after`:
        an event's id."""
        await self._parts.journal.flush_for_reader()
        return await asyncio.to_thread(self._parts.store.events.list, account_id, model_id, after_id=after, limit=limit)

    async def logs(self, account_id: str, model_id: str, count: int) -> Sequence[ReplicaLog]:
        """The ends of the outputs of the newest `count` replicas, newest first; empty when none has run."""
        return await self._parts.engine.read_logs(log_folder(account_id, model_id), count)

    # --- requests ---

    async def ensure_route(self, account_id: str, model_id: str, capacity: Capacity | None = None) -> Route:
        """See InferencePlane."""
        return self._revived(await self._clusters.ensure(account_id, model_id, capacity))

    def find_route(self, account_id: str, model_id: str) -> Route | None:
        """See InferencePlane."""
        managed = self._desired.find(account_id, model_id)
        return None if managed is None else self._revived(managed)

    async def get_route(self, account_id: str, model_id: str) -> Route:
        """See InferencePlane."""
        managed = self._clusters.get(account_id, model_id)
        route = self._revived(managed)
        if managed.failure is None and self._clusters.status(managed) in STOPPED:
            raise UnknownCluster(f"The cluster of {model_id} has stopped.", model=model_id)
        return route

    def end_stuck(self, cluster_id: str, replica_id: str, reason: str) -> None:
        """See InferencePlane."""
        managed = self._desired.by_id.get(cluster_id)
        replica = None if managed is None else managed.replicas.get(replica_id)
        if managed is not None and replica is not None:
            self._parts.reconciler.end_stuck(managed, replica, reason)

    def _revived(self, managed: ManagedCluster) -> Route:
        if managed.failure is not None:
            self._desired.revive(managed)
        return managed.route

    def _report(self, managed: ManagedCluster) -> Report:
        return self._clusters.report(managed)

    # --- jobs ---

    async def prepare_model(self, account_id: str, card: ModelCard, on_progress: OnProgress) -> ModelCard:
        """Gets a model's files to where they are needed, unless they are there; the card with their folder.

        `account_id`: who has asked; what it could never run is not fetched. Raises NoCapacity, ModelRefused,
        DownloadFailed, QuotaExceeded.
        """
        if not card.is_here:
            self._parts.boots.check_fits(account_id, card, self._parts.clock.monotonic())
        return await fetch_all(self._parts.engine.prepare, card, on_progress, account_id)

    async def export(self, order: ExportOrder, placed: Placed, on_step: OnStep) -> None:
        """Makes a variant where `reserve_memory` has set memory aside. Raises ModelRefused."""
        await self._parts.engine.export(order, placed.place, on_step)

    async def offer_model(self, card: ModelCard) -> None:
        """Takes what a job knows of a model whose files it has."""
        self._preparations.offer(card)

    async def forget_model(self, model_id: str) -> None:
        """Looks the model up afresh for the next boot: more is known of it, or its files have changed."""
        self._preparations.forget(model_id)

    async def largest_memory_bytes(self) -> int:
        """What may be held on the largest node in all."""
        return self._parts.boots.memory_bytes

    async def fewest_cores(self) -> int | None:
        """Processor cores of the smallest node; None where nobody knows."""
        return min((node.cores for node in self._parts.engine.nodes() if node.cores), default=None)

    async def reserve_memory(self, name: str, memory_bytes: int) -> Placement:
        """Sets memory aside for work that is no replica, if it is free somewhere now; see `release_memory`."""
        return self._parts.boots.reserve_memory(name, Need(memory_bytes), self._parts.clock.monotonic())

    @asynccontextmanager
    async def memory_for(self, name: str, memory_bytes: int) -> AsyncIterator[int]:
        """Sets memory aside for a program without which a replica cannot boot, once it is free, while the block runs;
        yields how much that is, no more than a node has. Idle replicas leave for it, as they would for that replica.
        Raises NoCapacity."""
        boots, clock = self._parts.boots, self._parts.clock
        need = Need(min(memory_bytes, boots.memory_bytes or memory_bytes))
        while not isinstance(found := boots.reserve_memory(name, need, clock.monotonic(), evicts=True), Placed):
            if isinstance(found, Never):
                raise NoCapacity(f"Making {name} {found.reason}", cause=found.cause, model=name)
            await asyncio.sleep(POLL_S)
        try:
            yield need.memory_bytes
        finally:
            boots.release_memory(name)

    async def release_memory(self, name: str) -> None:
        """Gives back what `reserve_memory` set aside. Idempotent."""
        self._parts.boots.release_memory(name)

    async def start_trial(self, account_id: str, model_id: str, settings: BootSettings) -> Trial:
        """Wants one worker of the model, which the loop boots, places and ends like any replica.

        `account_id`: whose name the ledger and the log carry.
        """
        now = self._parts.clock.now()
        trial_id = f"job_{secrets.token_hex(8)}"
        capacity = Capacity(1, 1, 1)
        cluster = Cluster(trial_id, account_id, model_id, capacity, TRIAL_TIMEOUT_S, True, now, now)
        return Trial(trial_id, self._desired.add_temporary(cluster, settings).route)

    async def get_trial(self, trial_id: str) -> TrialFigures:
        """How it does now. Raises UnknownCluster when it has ended."""
        managed = self._desired.by_id.get(trial_id)
        if managed is None:
            raise UnknownCluster(f"The trial {trial_id} has ended.")
        replicas = managed.replicas.values()
        peak_bytes = max((replica.peak_bytes for replica in replicas), default=0)
        peak_device_bytes = max((replica.peak_device_bytes for replica in replicas), default=0)
        return TrialFigures(managed.boot_s, peak_bytes or None, peak_device_bytes, managed.joins)

    async def end_trial(self, trial_id: str) -> None:
        """Stops its worker; returns when that is gone. Idempotent."""
        if trial_id in self._desired.by_id:
            self._desired.remove(trial_id)
            await self._desired.wait_until_gone(trial_id, TRIAL_ENDS_S)
