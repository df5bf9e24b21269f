"""Which clusters are wanted: those in the store, whoever wrote them, and for as long as a job needs it, one of its own.

Owns the collection of clusters and its index. Starts and stops no replica.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from modelyard.clock import Clock
from modelyard.control.faults import contained
from modelyard.control.pauses import in_pieces, with_pauses
from modelyard.control.policy import Policy
from modelyard.control.preparation import Preparations
from modelyard.control.replicas import BootSettings, ManagedCluster
from modelyard.control.routes import Routes
from modelyard.control.work_queue import WorkQueue
from modelyard.errors import ClusterOff, ModelyardError, StoreUnavailable
from modelyard.records.clusters import Capacity, Cluster
from modelyard.store.clusters import ChangedClusters
from modelyard.store.store import Store

log = logging.getLogger(__name__)

BASE_CAPACITY = Capacity(min=0, desired=0, max=1000)
BASE_TIMEOUT_S = 0
"""Of a cluster that is kept for adapters: it has as many replicas as they need, and none without."""
NEVER_READ = -1
"""Before the first version: clusters that were stored before there were versions have 0."""
TAKEN_UP_AT_ONCE = 50
"""Clusters after which requests come first again: about a millisecond."""
WANTED_AT_ONCE = 500
"""The same where they are only named: about a tenth of a millisecond."""


class DesiredState:
    """Every cluster that is wanted, or is being taken down. Loop thread only."""

    def __init__(
        self,
        store: Store,
        routes: Routes,
        preparations: Preparations,
        clock: Clock,
        policy: Policy,
        work: WorkQueue,
    ) -> None:
        """`work` is told of every change."""
        self._store = store
        self._routes = routes
        self._preparations = preparations
        self._clock = clock
        self._policy = policy
        self._work = work
        self.by_id: dict[str, ManagedCluster] = {}
        self.active: dict[str, ManagedCluster] = {}
        """Those that are not at rest, by id: few, however many there are. The reconciler adds and takes away."""
        self._ids: dict[str, dict[str, str]] = {}
        """By account, then by model, of those that are wanted."""
        self._bases: dict[tuple[str, str], ManagedCluster] = {}
        """By account and model, those that are kept for adapters because the account's own runs nothing."""
        self._gone: dict[str, asyncio.Event] = {}
        self._version = NEVER_READ
        self._is_unsure = False
        """Whether the store was away: another database may have taken over, which lacks the last changes."""
        self._reading = asyncio.Lock()
        work.tell_accounts(self._account_of)

    # --- what there is ---

    def all(self) -> Sequence[ManagedCluster]:
        """All of them, those being taken down and those of jobs included; the collection may change meanwhile."""
        return list(self.by_id.values())

    def _account_of(self, cluster_id: str) -> str:
        managed = self.by_id.get(cluster_id)
        return "" if managed is None else managed.cluster.account_id

    def find(self, account_id: str, model_id: str) -> ManagedCluster | None:
        """The account's cluster of a model, as long as it is wanted."""
        cluster_id = self._ids.get(account_id, {}).get(model_id)
        return None if cluster_id is None else self.by_id[cluster_id]

    def list(self, account_id: str) -> Sequence[ManagedCluster]:
        """The clusters that one account wants, by model id."""
        return [self.by_id[cluster_id] for _, cluster_id in sorted(self._ids.get(account_id, {}).items())]

    def wanted(self, account_id: str | None, model_id: str | None) -> Sequence[Cluster]:
        """Those of one account, or of all, that are of one model, or of any, in no order."""
        return [self.by_id[cluster_id].cluster for cluster_id in self._wanted_ids(account_id, model_id)]

    async def wanted_in_pieces(self, account_id: str | None, model_id: str | None) -> AsyncIterator[Sequence[Cluster]]:
        """The same, some at a time, each as it is wanted by then; others of the loop have their turns meanwhile. Those
        that are deleted before their turn comes are left out, those that are made are not among them."""
        async for ids in in_pieces(self._wanted_ids(account_id, model_id), WANTED_AT_ONCE):
            there = [managed for each in ids if (managed := self.by_id.get(each)) is not None]
            yield [managed.cluster for managed in there if not managed.removed]

    def _wanted_ids(self, account_id: str | None, model_id: str | None) -> Sequence[str]:
        by_model = self._ids.values() if account_id is None else [self._ids.get(account_id, {})]
        if model_id is None:
            return [cluster_id for each in by_model for cluster_id in each.values()]
        return [each[model_id] for each in by_model if model_id in each]

    def accounts(self) -> Sequence[str]:
        """The ids of those that want any."""
        return list(self._ids)

    def count(self) -> int:
        """How many are wanted, without those of jobs."""
        return sum(map(len, self._ids.values()))

    # --- what the store says ---

    async def read(self) -> None:
        """Takes up every change that was stored before the call, whoever stored it; a small query when there is none.

        Raises Unavailable.
        """
        async with self._reading:
            since = NEVER_READ if self._is_unsure else self._version
            try:
                changes = await asyncio.to_thread(self._store.clusters.find_changed, since)
            except StoreUnavailable:
                self._is_unsure = True
                raise
            self._is_unsure = False
            if changes is not None:
                await self._take_up(changes)

    async def read_forever(self) -> None:
        """Sees what other processes change, soon after; where nobody has written anything, it reads nothing."""
        unread = False
        while True:
            await asyncio.sleep(self._policy.read_s)
            unread = self._store.may_have_changed() or unread
            if not unread:
                continue
            try:
                await self.read()
                unread = False
            except ModelyardError as error:
                log.warning("what is wanted cannot be read: %s", error)
                await asyncio.sleep(self._policy.read_again_s)
            except Exception:  # a bug must not end the reading
                log.exception("an error in reading what is wanted")
                await asyncio.sleep(self._policy.read_again_s)

    async def _take_up(self, changes: ChangedClusters) -> None:
        async for cluster in with_pauses(changes.changed, TAKEN_UP_AT_ONCE):
            self._take_up_cluster(cluster)
        for cluster_id in changes.deleted if changes.ids is None else self._stored_ids() - changes.ids:
            if cluster_id in self.by_id:
                self.remove(cluster_id)
        self._version = changes.version

    def _stored_ids(self) -> set[str]:
        return {each.cluster.id for each in self.by_id.values() if not (each.temporary or each.unlisted)}

    def _take_up_cluster(self, cluster: Cluster) -> None:
        managed = self.by_id.get(cluster.id)
        if managed is None:
            in_use = self._version != NEVER_READ or self._was_in_use(cluster)
            managed = self._add(cluster, in_use=in_use)
            self._ids.setdefault(cluster.account_id, {})[cluster.model_id] = cluster.id
        else:
            known = managed.cluster  # the store's counts lag behind
            cluster = replace(cluster, inferences=known.inferences, last_inference_at=known.last_inference_at)
            if managed.removed or (cluster.version == known.version and cluster == known):
                return
            self._change(managed, cluster)
        self._hand_over(managed)
        with contained(managed):
            self._aim(managed)
        if managed.wanted or self._version != NEVER_READ:  # at the start, nothing is due for one that is to rest
            self._work.add(cluster.id)

    def _change(self, managed: ManagedCluster, cluster: Cluster) -> None:
        known, managed.cluster = managed.cluster, cluster
        if cluster.wake_version != known.wake_version:
            self._wake(managed)
            managed.route.last_activity = self._clock.monotonic()

    def _was_in_use(self, cluster: Cluster) -> bool:
        last = max(filter(None, (cluster.modified_at, cluster.last_inference_at)))
        return (self._clock.now() - last).total_seconds() < cluster.timeout_s

    # --- one cluster ---

    def add_temporary(self, cluster: Cluster, settings: BootSettings) -> ManagedCluster:
        """Wants a cluster that is in no store, until it is removed."""
        managed = self._add(cluster, in_use=True, settings=settings, temporary=True)
        self._aim(managed)
        self._work.add(cluster.id)
        return managed

    def ensure_base(self, account_id: str, model_id: str) -> ManagedCluster:
        """The account's cluster in whose replicas adapters of that model run: its own of the model, where that may run
        anything, else one that is in no list."""
        own = self.find(account_id, model_id)
        if own is not None and not own.off:
            return own
        return self._bases.get((account_id, model_id)) or self._add_base(account_id, model_id)

    def release_base(self, base: ManagedCluster) -> None:
        """Ends a cluster that was kept for adapters, once there are none."""
        if base.unlisted and not base.adapters and not base.removed:
            self.remove(base.cluster.id)

    def _add_base(self, account_id: str, model_id: str) -> ManagedCluster:
        now = self._clock.now()
        cluster_id = f"base_{secrets.token_hex(8)}"
        cluster = Cluster(cluster_id, account_id, model_id, BASE_CAPACITY, BASE_TIMEOUT_S, True, now, now)
        managed = self._bases[account_id, model_id] = self._add(cluster, in_use=False)
        managed.unlisted = True
        self._work.add(cluster_id)
        return managed

    def _hand_over(self, managed: ManagedCluster) -> None:
        """What adapters use of an account's own cluster goes on where that may not run any more; what they use without
        one goes into its own when there is one."""
        key = managed.cluster.account_id, managed.cluster.model_id
        if managed.unlisted or managed.temporary:
            return
        if managed.off and managed.adapters:
            self._move(managed, self._bases.get(key) or self._add_base(*key))
        elif not managed.off and (kept := self._bases.get(key)) is not None:
            self._move(kept, managed)
            self.release_base(kept)

    def _move(self, old: ManagedCluster, new: ManagedCluster) -> None:
        new.take_over(old)
        self.active[new.cluster.id] = new
        for managed in (old, new):
            self._publish(managed)
            self._work.add(managed.cluster.id)

    def revive(self, managed: ManagedCluster) -> None:
        """A request has come for a cluster that was given up: after a while it is worth another try."""
        kept_s = self._clock.monotonic() - managed.failed_at
        if managed.failure is not None and kept_s >= self._policy.failure_kept_s:
            self._wake(managed)
            self._publish(managed)
            self._work.add(managed.cluster.id)

    def remove(self, cluster_id: str) -> None:
        """Begins to take a cluster down: no new requests, those that wait fail, all replicas stop. Idempotent."""
        managed = self.by_id[cluster_id]
        if managed.removed:
            return
        managed.removed = True
        self._hand_over(managed)
        account_id, model_id = managed.cluster.account_id, managed.cluster.model_id
        ids = self._ids.get(account_id, {})
        if ids.get(model_id) == cluster_id:
            del ids[model_id]
            if not ids:
                del self._ids[account_id]
        if managed.unlisted:
            del self._bases[account_id, model_id]
        self._gone[cluster_id] = asyncio.Event()
        self._publish(managed)
        self._work.add(cluster_id)

    def forget(self, managed: ManagedCluster) -> None:
        """A removed cluster has no replica left."""
        base = managed.base
        managed.leave_base()
        if base is not None:
            self.release_base(base)
        del self.by_id[managed.cluster.id]
        self.active.pop(managed.cluster.id, None)
        self._work.forget(managed.cluster.id)
        self._routes.remove(managed.cluster.id, managed.refusal() or ClusterOff())
        self._gone.pop(managed.cluster.id).set()

    async def wait_until_gone(self, cluster_id: str, deadline_s: float) -> None:
        """Returns when a removed cluster has no replica left, or after `deadline_s`."""
        gone = self._gone.get(cluster_id)
        if gone is None:
            return
        try:
            async with asyncio.timeout(deadline_s):
                await gone.wait()
        except TimeoutError:
            log.warning("cluster %s is still stopping after %.0f s", cluster_id, deadline_s)

    def _add(
        self, cluster: Cluster, *, in_use: bool, settings: BootSettings | None = None, temporary: bool = False
    ) -> ManagedCluster:
        floor = cluster.capacity.desired if in_use else cluster.capacity.min
        route = self._routes.ensure(cluster.id)
        managed = ManagedCluster(cluster, route, floor, settings or BootSettings(), temporary=temporary)
        self.by_id[cluster.id] = managed
        return managed

    def _aim(self, managed: ManagedCluster) -> None:
        """Says at once how many replicas are wanted, and what requests get meanwhile."""
        now = self._clock.monotonic()
        managed.aim(now, self._policy.slots_per_target, self._policy.stable_window_s)
        self._publish(managed)

    def _wake(self, managed: ManagedCluster) -> None:
        managed.wake()
        if managed.base is not None and managed.base.failure is not None:
            self._wake(managed.base)
            self._work.add(managed.base.cluster.id)
        self._preparations.forgive(managed.cluster.model_id)

    def _publish(self, managed: ManagedCluster) -> None:
        self._routes.publish(managed.cluster.id, managed.links(), managed.refusal(), managed.beside())
