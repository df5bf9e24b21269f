"""Ends of replicas: out of the routes first, then drained or stopped.

Owns the tasks that wait for the engine to stop one. Does not decide who goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from modelyard.control.policy import Policy
from modelyard.control.records import Records
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.routes import Routes
from modelyard.control.states import ReplicaState
from modelyard.engine.base import Engine
from modelyard.errors import LeaseLost, ModelyardError

log = logging.getLogger(__name__)


class Stops:
    """Takes replicas out of the routes and ends them. Loop thread only; a stop goes on beside the loop."""

    def __init__(
        self, engine: Engine, routes: Routes, records: Records, policy: Policy, wake: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._routes = routes
        self._records = records
        self._policy = policy
        self._wake = wake
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait(self) -> None:
        """Returns when every stop that was asked for has been carried out."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, managed: ManagedCluster, closing: ModelyardError | None = None) -> None:
        """Tells the routes which of its replicas take requests; when `closing`, that none does."""
        links = {} if closing else managed.links()
        self._routes.publish(managed.cluster.id, links, closing or managed.refusal(), managed.beside())

    def evict(self, managed: ManagedCluster, replica: Replica, reason: str, now: float) -> None:
        """Drains an idle replica; that another waits for its memory, it is not told first: it has nothing to finish."""
        self.drain(managed, replica, reason, now, grace_s=0.0)

    def drain(
        self, managed: ManagedCluster, replica: Replica, reason: str, now: float, *, grace_s: float | None = None
    ) -> None:
        replica.move(ReplicaState.DRAINING, now)
        self._records.event(managed.cluster, "draining", f"{replica.id}: {reason}")
        self.publish(managed)
        if managed.in_flight(replica.id) == 0:
            self.stop(managed, replica, reason, now, grace_s=grace_s)

    def stop(
        self,
        managed: ManagedCluster,
        replica: Replica,
        reason: str,
        now: float,
        *,
        failed: bool = False,
        grace_s: float | None = None,
    ) -> None:
        """Takes it out of the routes, then asks for its end. Once asked, the first reason stands. `grace_s`: how long
        it may take to end by itself; None: as the policy says."""
        if replica.state is ReplicaState.QUEUED:
            replica.move(ReplicaState.STOPPED, now)
            managed.replicas.pop(replica.id)
        elif replica.stopping is None:
            replica.stopping, replica.counts_as_failure = reason, failed
            is_billed = managed.settings.billed and replica.beside is None
            if replica.started and not replica.was_ready and not failed and is_billed:
                replica.withdrawn = True
                self._records.withdrawn(replica.id)
            if replica.state is not ReplicaState.DRAINING:
                replica.move(ReplicaState.DRAINING, now)
                self.publish(managed)
            if grace_s is None:
                grace_s = self._policy.stop_at_once_grace_s if managed.off else self._policy.stop_grace_s
            self._start_task(self._engine.stop(replica.id, grace_s), f"stop {replica.id}")

    def end_unwanted(self, replica_id: str, *, known: bool) -> None:
        """Ends a replica that another server has launched and that no cluster wants. `known`: the ledger has it."""
        self._start_task(self._end_unwanted(replica_id, known=known), f"end {replica_id}")

    async def _end_unwanted(self, replica_id: str, *, known: bool) -> None:
        await self._engine.stop(replica_id, 0.0)
        if known:
            self._records.ended(replica_id, "nobody wanted it when another server came to lead")
        self._engine.forget(replica_id)

    def drop_queued(self, managed: ManagedCluster, now: float) -> None:
        for replica in list(managed.replicas.values()):
            if replica.state is ReplicaState.QUEUED:
                self.stop(managed, replica, "given up", now)

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, LeaseLost):
            log.error("%s failed", task.get_name(), exc_info=error)
        self._wake()
