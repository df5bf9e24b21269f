"""Clusters as clients know them: create, read, change, delete. Owns the checks on desired state and its storage;
making it so is the reconciler's work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from modelyard.catalog.catalog import Catalog
from modelyard.clock import Clock
from modelyard.control.desired import DesiredState
from modelyard.control.journal import Journal
from modelyard.control.limits import instances
from modelyard.control.policy import Policy
from modelyard.control.preparation import Preparations, Prepared
from modelyard.control.replicas import ManagedCluster
from modelyard.control.room import QuotaOf
from modelyard.control.states import ClusterStatus
from modelyard.errors import InvalidRequest, ModelyardError, QuotaExceeded, UnknownCluster
from modelyard.records.clusters import Capacity, Changes, Cluster, check_capacity
from modelyard.records.models import ModelCard
from modelyard.store.store import Store

T = TypeVar("T")

MAX_TIMEOUT_S = 365 * 24 * 3600
DELETE_DEADLINE_S = 10.0
MODELS_NAMED = 10
"""Of an account that has too many; the others are in its list of clusters."""


@dataclass(frozen=True, slots=True)
class Report:
    """A cluster at one moment. `instances`: replicas that exist or are on their way. `expires_at`: when it will idle
    out unless used; None while busy, booting, or with nothing to expire. `problem`: why it cannot run although its
    owner wants it to. `memory_bytes`: what one replica needs, as far as is known."""

    cluster: Cluster
    status: ClusterStatus
    instances: int
    ready: int
    in_flight: int
    queued: int
    expires_at: datetime | None
    problem: ModelyardError | None
    memory_bytes: int | None = None

    @property
    def error(self) -> str | None:
        """What is wrong, without what to do about it."""
        return None if self.problem is None else self.problem.message


class Clusters:
    """All accounts' clusters on this server. An account only ever reaches its own."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        preparations: Preparations,
        desired: DesiredState,
        journal: Journal,
        clock: Clock,
        policy: Policy,
        *,
        quota_of: QuotaOf,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._preparations = preparations
        self._desired = desired
        self._journal = journal
        self._clock = clock
        self._quota_of = quota_of
        self._policy = policy
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    def find(self, account_id: str, model_id: str) -> ManagedCluster | None:
        """The account's cluster of a model."""
        return self._desired.find(account_id, model_id)

    def get(self, account_id: str, model_id: str) -> ManagedCluster:
        """The account's cluster of a model. Raises UnknownCluster."""
        managed = self.find(account_id, model_id)
        if managed is None:
            raise UnknownCluster(f"You have no cluster of {model_id}.", model=model_id)
        return managed

    def list(self, account_id: str) -> Sequence[ManagedCluster]:
        """The account's clusters, by model id."""
        return self._desired.list(account_id)

    async def model(self, account_id: str, model_id: str) -> ModelCard:
        """The model's card, if it may be served. Raises UnknownModel, ModelRefused, and what the catalog raises."""
        card = await self._catalog.get(model_id, account_id)
        card.check_served()
        self._preparations.offer(card)
        return card

    async def put(
        self, account_id: str, model_id: str, changes: Changes, capacity: Capacity | None = None
    ) -> ManagedCluster:
        """Creates the cluster, or updates and wakes it. `capacity`: what a new one has where the changes do not say;
        None: the default. Raises InvalidRequest, QuotaExceeded, and as `model` does."""
        await self.model(account_id, model_id)
        return await self._change(partial(self._put, account_id, model_id, changes, capacity))

    async def ensure(self, account_id: str, model_id: str, capacity: Capacity | None = None) -> ManagedCluster:
        """The account's cluster, made with that capacity (None: the default) when there is none. Raises QuotaExceeded,
        and as `model` does."""
        existing = self.find(account_id, model_id)
        if existing is not None:
            return existing
        await self.model(account_id, model_id)
        return await self._change(partial(self._ensure, account_id, model_id, capacity))

    async def patch(self, account_id: str, model_id: str, changes: Changes) -> ManagedCluster:
        """Changes a cluster; it wakes unless only its timeout changes. Raises UnknownCluster, InvalidRequest."""
        return await self._change(partial(self._patch, account_id, model_id, changes))

    async def delete(self, account_id: str, model_id: str) -> None:
        """Stops every instance and removes the cluster; returns when they are gone. Raises UnknownCluster."""
        cluster = await self._change(partial(self._delete, account_id, model_id))
        await self._desired.wait_until_gone(cluster.id, DELETE_DEADLINE_S)

    async def _change(self, change: Callable[[], Awaitable[T]]) -> T:
        """Makes a change in its turn, and to its end even when its client leaves: store and reconciler must agree."""
        task = asyncio.create_task(self._in_turn(change), name="change a cluster")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _in_turn(self, change: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            await self._desired.read()  # what another process has changed is changed further, not undone
            return await change()

    async def _put(self, account_id: str, model_id: str, changes: Changes, default: Capacity | None) -> ManagedCluster:
        existing = self.find(account_id, model_id)
        base = existing.cluster if existing else None
        if base is None:
            self._check_models(account_id)
        capacity = check_capacity(base.capacity if base else default or Capacity(), changes)
        self._check_min(account_id, base, capacity)
        timeout_s = check_timeout(base.timeout_s if base else self._policy.idle_timeout_s, changes)
        cluster, created = await asyncio.to_thread(
            self._store.clusters.put,
            account_id,
            model_id,
            capacity,
            timeout_s,
            self._clock.now(),
            timeout_given=changes.timeout_s is not None or (base is not None and base.timeout_given),
        )
        return await self._took_effect(cluster, "created" if created else "updated")

    async def _ensure(self, account_id: str, model_id: str, capacity: Capacity | None) -> ManagedCluster:
        return self.find(account_id, model_id) or await self._put(account_id, model_id, Changes(), capacity)

    async def _patch(self, account_id: str, model_id: str, changes: Changes) -> ManagedCluster:
        current = self.get(account_id, model_id).cluster
        capacity = check_capacity(current.capacity, changes)
        self._check_min(account_id, current, capacity)
        cluster = await asyncio.to_thread(
            self._store.clusters.update,
            current.id,
            capacity=capacity,
            timeout_s=check_timeout(current.timeout_s, changes),
            timeout_given=None if changes.timeout_s is None else True,
            enabled=changes.enabled,
            wake=changes != Changes(timeout_s=changes.timeout_s),
            now=self._clock.now(),
        )
        if cluster is None:
            raise deleted_a_moment_ago(model_id)
        return await self._took_effect(cluster, "updated")

    def _check_models(self, account_id: str) -> None:
        """Whether the account may have one more cluster. Raises QuotaExceeded."""
        most = self._quota_of(account_id).models
        if most is None:
            return
        there = [each.cluster.model_id for each in self.list(account_id)]
        if len(there) >= most:
            named = ", ".join(there[:MODELS_NAMED]) + (", ..." if len(there) > MODELS_NAMED else "")
            raise QuotaExceeded(
                f"Your account's models are limited to {most}, and there are {len(there)}: {named or 'none'}.",
                cause="models",
                limit=most,
            )

    def _check_min(self, account_id: str, base: Cluster | None, capacity: Capacity) -> None:
        """Whether replicas that must always run are no more than the account may hold. Raises InvalidRequest.

        Not asked of a cluster whose `min` does not rise: it can be changed even when the limit has been lowered since.
        """
        most = self._quota_of(account_id).instances
        if most is None or capacity.min <= (base.capacity.min if base else 0):
            return
        others = sum(
            each.cluster.capacity.min for each in self.list(account_id) if base is None or each.cluster.id != base.id
        )
        if capacity.min + others > most:
            taken = f", and the min of its other clusters takes {others}" if others else ""
            raise InvalidRequest(
                field="capacity.min",
                got=capacity.min,
                accepted=f"at most {max(0, most - others)}: your account may hold {instances(most)} at once{taken}",
            )

    async def _delete(self, account_id: str, model_id: str) -> Cluster:
        cluster = self.get(account_id, model_id).cluster
        await asyncio.to_thread(self._store.clusters.delete, cluster.id)
        await self._desired.read()
        self._journal.event(account_id, model_id, cluster.id, "deleted", "cluster deleted")
        return cluster

    def status(self, managed: ManagedCluster) -> ClusterStatus:
        """The word for what it is doing now."""
        return managed.status(downloading=self._preparations.is_downloading(managed.cluster.model_id))

    def report(self, managed: ManagedCluster) -> Report:
        """The cluster as it is now."""
        cluster = managed.counted()
        prepared = self._preparations.find(cluster.model_id)
        card = managed.form or (prepared.card if isinstance(prepared, Prepared) else None)
        now = self._clock.monotonic()
        load = managed.route.load()
        idle_s = managed.idle_s(now)
        expires_at = None
        if idle_s is not None and managed.live() > managed.least:
            expires_at = self._clock.now() + timedelta(seconds=max(0.0, managed.idle_timeout_s - idle_s))
        return Report(
            cluster=cluster,
            status=self.status(managed),
            instances=len(managed.replicas),
            ready=len(managed.route.targets),
            in_flight=load.in_flight,
            queued=load.queued,
            expires_at=expires_at,
            problem=managed.problem(),
            memory_bytes=card.memory_bytes if card is not None else None,
        )

    async def _took_effect(self, cluster: Cluster, verb: str) -> ManagedCluster:
        """Notes a change that was stored, and takes it up, so that whoever made it finds it made."""
        capacity = cluster.capacity
        words = (
            f"cluster {verb}: min {capacity.min}, desired {capacity.desired}, max {capacity.max}, "
            f"timeout {cluster.timeout_s} s{'' if cluster.enabled else ', off'}"
        )
        self._journal.event(cluster.account_id, cluster.model_id, cluster.id, verb, words)
        await self._desired.read()
        managed = self.find(cluster.account_id, cluster.model_id)
        if managed is None:
            raise deleted_a_moment_ago(cluster.model_id)
        return managed


def deleted_a_moment_ago(model_id: str) -> UnknownCluster:
    """For a change that another process has undone meanwhile."""
    return UnknownCluster(f"The cluster of {model_id} was deleted a moment ago.", model=model_id)


def check_timeout(base: int, changes: Changes) -> int:
    """The idle timeout in seconds."""
    return base if changes.timeout_s is None else changes.timeout_s
