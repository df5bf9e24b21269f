"""The loop that makes what runs match what is wanted: observe → plan → act → record, whenever something changed.

Owns every Replica and Supervised. All methods belong to the event loop's thread and return at once; what takes time
(a boot, a stop, a write) goes on beside the loop and pokes it when it is done.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.clock import Clock
from modelyard.control.failures import GiveUp, Retry
from modelyard.control.placement import Evict, Never, Placed, Placement, Tenant, Wait, gigabytes
from modelyard.control.plan import Action, Drain, Launch, Limits, Stop, plan_cluster
from modelyard.control.policy import Policy
from modelyard.control.preparation import NotPrepared, Preparations, Prepared, Preparing
from modelyard.control.records import Records
from modelyard.control.replicas import Replica, Supervised, Terms
from modelyard.control.room import QuotaOf, Room, name_for
from modelyard.control.routes import Routes
from modelyard.control.states import HOLDS_MEMORY, ReplicaState
from modelyard.engine.base import Engine, Phase, Place, Sighting
from modelyard.errors import BootFailed, ClusterOff, ModelyardError, NoCapacity
from modelyard.records.clusters import Cluster
from modelyard.records.models import ModelCard
from modelyard.records.replicas import ReplicaSpec
from modelyard.store.store import Store

log = logging.getLogger(__name__)

REST_PER_STEP = 4
"""After a step the loop rests this many times as long as the step took, so that requests, which poke it, come first."""

ORDINARY = Terms()
"""The terms of every cluster that a client made."""


class Reconciler:
    """Supervises all clusters of this server."""

    def __init__(
        self,
        engine: Engine,
        routes: Routes,
        preparations: Preparations,
        records: Records,
        store: Store,
        clock: Clock,
        policy: Policy,
        log_dir: Path,
        quota_of: QuotaOf,
        unpaid: Callable[[str], ModelyardError | None] = lambda account_id: None,
    ) -> None:
        """`unpaid`: why an account may run nothing for now, None when it may; asked at every step."""
        self._engine = engine
        self._routes = routes
        self._preparations = preparations
        self._store = store
        self._clock = clock
        self._policy = policy
        self._records = records
        self._unpaid = unpaid
        self._limits = Limits(boot_s=policy.boot_s, drain_s=policy.drain_s)
        self._log_dir = log_dir
        self._quota_of = quota_of
        self._clusters: dict[str, Supervised] = {}
        self._gone: dict[str, asyncio.Event] = {}
        self._poke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stops: set[asyncio.Task[None]] = set()
        self._heartbeat_at = self._count_at = clock.monotonic()
        self._held: dict[str, Tenant] = {}
        self.on_growth: Callable[[ModelCard, int], None] = lambda card, held_bytes: None

    # --- life ---

    async def start(self) -> None:
        """Heals what an earlier server left behind, takes up the stored clusters, and starts the loop."""
        await self.recover()
        self._engine.watch(self.poke)
        self._routes.on_demand = self.poke
        self._preparations.on_change = self.poke
        self._task = asyncio.create_task(self._run(), name="reconciler")

    async def recover(self) -> None:
        """Ends the processes and closes the ledger of an earlier server; takes up the stored clusters.

        A store belongs to one server, so whatever life is open was that server's, even if it called its node by
        another name (a container has a new one each time). A process is looked for on the node it ran on only.
        """
        here = {node.name for node in self._engine.nodes()}
        left = await asyncio.to_thread(self._store.instances.list_open)
        strays = self._engine.end_strays(
            (i.pid, i.pid_started) for i in left if i.node in here and i.pid and i.pid_started
        )
        if strays:
            log.warning("ended %d worker processes left over from an earlier server", strays)
        self._records.killed(left)
        for cluster in await asyncio.to_thread(self._store.clusters.list):
            self._supervise(cluster, in_use=self._was_in_use(cluster))

    async def close(self) -> None:
        """Stops the loop, then every replica, and records their ends. Desired state stays as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for supervised in self._clusters.values():
            self._routes.publish(supervised.cluster.id, {}, ClusterOff("The server is shutting down."))
            for replica in supervised.replicas.values():
                replica.stopping = replica.stopping or "the server was stopped"
        await self._engine.close()
        await asyncio.gather(*self._stops, return_exceptions=True)
        self._observe(self._clock.monotonic())
        self._count_inferences()

    def poke(self) -> None:
        """Something changed: look now."""
        self._poke.set()

    async def _run(self) -> None:
        while True:
            self._poke.clear()
            began = time.perf_counter()
            try:
                self.step()
            except Exception:  # a bug must not end the supervision
                log.exception("the reconciler stumbled")
            await asyncio.sleep(REST_PER_STEP * (time.perf_counter() - began))
            try:
                async with asyncio.timeout(self._policy.tick_s):
                    await self._poke.wait()
            except TimeoutError:
                continue

    def step(self) -> None:
        """One turn of the loop."""
        now = self._clock.monotonic()

        # STEP 1: observe what became of the replicas.
        self._observe(now)

        for supervised in list(self._clusters.values()):
            with self._guarding(supervised):
                # STEP 2: how many should there be?
                self._consider_funds(supervised)
                self._consider_use(supervised, now)
                supervised.aim(now, self._policy.slots_per_target, self._policy.stable_window_s)
                # STEP 3: plan and act.
                for action in plan_cluster(supervised.view(now), self._limits):
                    self._act(supervised, action, now)

        # STEP 4: find room for those that wait for it, the oldest first.
        self._place_queued(now)

        # STEP 5: tell the gateway who is ready.
        for supervised in list(self._clusters.values()):
            with self._guarding(supervised):
                self._publish(supervised)
                if supervised.removed and not supervised.replicas:
                    self._forget(supervised)

        # STEP 6: record that they live, and what they did.
        if now - self._heartbeat_at >= self._policy.heartbeat_s:
            self._heartbeat_at = now
            self._heartbeat()
        if now - self._count_at >= self._policy.count_s:
            self._count_at = now
            self._count_inferences()

    @contextmanager
    def _guarding(self, supervised: Supervised) -> Iterator[None]:
        """A bug that one cluster meets must not stop the supervision of the others."""
        try:
            yield
        except Exception:
            log.exception("the reconciler stumbled over the cluster of %s", supervised.cluster.model_id)

    # --- memory for other work ---

    @property
    def memory_bytes(self) -> int:
        """What may be held on this machine in all."""
        return self._engine.nodes()[0].memory_bytes

    def hold(self, name: str, need_bytes: int) -> Placement:
        """Sets memory aside for work that is no replica, if it is free now; `let_go` gives it back."""
        free = self._room(self._clock.monotonic()).look(need_bytes)
        if isinstance(free, Placed):
            self._held[name] = Tenant(name, name, need_bytes, idle_s=None)
        return free

    def let_go(self, name: str) -> None:
        """Gives back what `hold` set aside. Idempotent."""
        if self._held.pop(name, None) is not None:
            self.poke()

    def _room(self, now: float) -> Room:
        held = tuple(self._held.values())
        return Room(self._engine.nodes()[0], self._clusters.values(), self._quota_of, now, held)

    # --- what the gateway may ask ---

    def supervised(self, cluster_id: str) -> Supervised:
        """A cluster as it is now. Raises KeyError."""
        return self._clusters[cluster_id]

    def clusters(self) -> Iterable[Supervised]:
        """All of them, those being deleted included."""
        return self._clusters.values()

    def adopt(self, cluster: Cluster, *, wake: bool = True, terms: Terms = ORDINARY) -> Supervised:
        """Takes new desired state. `wake`: a cluster that had idled out or failed starts anew."""
        now = self._clock.monotonic()
        supervised = self._clusters.get(cluster.id)
        if supervised is None:
            supervised = self._supervise(cluster, in_use=True, terms=terms)
        else:
            known = supervised.cluster  # the store's counts lag behind
            supervised.cluster = replace(
                cluster, inferences=known.inferences, last_inference_at=known.last_inference_at
            )
            if wake:
                self._wake(supervised)
                supervised.route.last_activity = now
        supervised.aim(now, self._policy.slots_per_target, self._policy.stable_window_s)
        self._publish(supervised)
        self.poke()
        return supervised

    def revive(self, cluster_id: str) -> None:
        """A request has come for a cluster that was given up: after a while it is worth another try."""
        supervised = self._clusters[cluster_id]
        kept_s = self._clock.monotonic() - supervised.failed_at
        if supervised.failure is not None and kept_s >= self._policy.failure_kept_s:
            self._wake(supervised)
            self._publish(supervised)
            self.poke()

    def remove(self, cluster_id: str) -> None:
        """Begins to take a cluster down: no more requests, those that wait fail, every replica is stopped."""
        supervised = self._clusters[cluster_id]
        supervised.removed = True
        self._gone[cluster_id] = asyncio.Event()
        self._publish(supervised)
        self.poke()

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

    def is_downloading(self, model_id: str) -> bool:
        """Whether the model's files are on their way; looking for them is quick and does not count."""
        state = self._preparations.find(model_id)
        return isinstance(state, Preparing) and state.total_bytes > 0

    # --- STEP 1: observe ---

    def _observe(self, now: float) -> None:
        sightings = self._engine.sightings()
        for supervised in list(self._clusters.values()):
            with self._guarding(supervised):
                for replica in list(supervised.replicas.values()):
                    if replica.state in HOLDS_MEMORY:
                        unseen = Sighting(replica.id, Phase.GONE, reason="the engine does not know it")
                        self._fold_in(supervised, replica, sightings.get(replica.id, unseen), now)

    def _fold_in(self, supervised: Supervised, replica: Replica, sighting: Sighting, now: float) -> None:
        if sighting.pid is not None and replica.pid is None:
            replica.pid = sighting.pid
            self._records.process(replica.id, sighting.pid, sighting.pid_started)
        if sighting.peak_bytes is not None and sighting.peak_bytes > replica.peak_bytes:
            self._grew(supervised, replica, sighting.peak_bytes)
        match sighting.phase:
            case Phase.LOADING if replica.state is ReplicaState.STARTING:
                replica.move(ReplicaState.LOADING, now)
            case Phase.READY if replica.state in (ReplicaState.STARTING, ReplicaState.LOADING):
                self._became_ready(supervised, replica, sighting, now)
            case Phase.GONE:
                self._ended(supervised, replica, sighting, now)

    def _grew(self, supervised: Supervised, replica: Replica, peak_bytes: int) -> None:
        """What a replica was seen to hold counts, also where its model's figure said less."""
        replica.peak_bytes = peak_bytes
        if peak_bytes > replica.reserved_bytes and supervised.terms is ORDINARY:
            replica.reserved_bytes = peak_bytes
            if isinstance(prepared := self._preparations.find(supervised.cluster.model_id), Prepared):
                self.on_growth(prepared.card, peak_bytes)

    def _became_ready(self, supervised: Supervised, replica: Replica, sighting: Sighting, now: float) -> None:
        took_s = now - replica.since
        replica.move(ReplicaState.READY, now)
        replica.was_ready = True
        replica.link, replica.slots = sighting.link, sighting.slots
        supervised.slots = sighting.slots
        supervised.ready_at = now
        supervised.boot_s = took_s
        supervised.failures.boot_succeeded()
        self._records.ready(replica.id)
        self._event(supervised, "ready", f"{replica.id} is ready after {took_s:.2f} s")

    def _ended(self, supervised: Supervised, replica: Replica, sighting: Sighting, now: float) -> None:
        supervised.replicas.pop(replica.id)
        self._engine.forget(replica.id)
        reason = replica.stopping or sighting.reason or "ended"
        self._records.ended(replica.id, reason)
        if replica.stopping is not None and not replica.counts_as_failure:
            replica.move(ReplicaState.STOPPED, now)
            self._event(supervised, "stopped", f"{replica.id} stopped: {reason}")
            return
        replica.move(ReplicaState.FAILED, now)
        self._event(supervised, "failed", f"{replica.id} failed: {reason}")
        if not supervised.off:
            self._failed(supervised, replica, reason, now, permanent=sighting.refused)

    def _failed(self, supervised: Supervised, replica: Replica, reason: str, now: float, *, permanent: bool) -> None:
        model_id = supervised.cluster.model_id
        self._preparations.forget(model_id)
        match supervised.failures.add(now, self._policy, was_ready=replica.was_ready, permanent=permanent):
            case GiveUp(because):
                self._give_up(supervised, BootFailed(f"{model_id} {because}: {reason}"), now)
            case Retry(delay_s):
                supervised.retry_at = now + delay_s
                asyncio.get_running_loop().call_later(delay_s, self.poke)

    def _give_up(self, supervised: Supervised, error: ModelyardError, now: float) -> None:
        """Stops trying to boot. A cluster with replicas that work keeps them, and tries to add more later."""
        self._drop_queued(supervised, now)
        if ReplicaState.READY in supervised.states():
            supervised.retry_at = now + self._policy.failure_kept_s
            self._event(supervised, "cannot scale", error.message)
            return
        supervised.failure = error
        supervised.failed_at = now
        self._event(supervised, "gave up", error.message)
        self._publish(supervised)

    # --- STEP 2: how many ---

    def _consider_funds(self, supervised: Supervised) -> None:
        """Without funds nothing new is begun: what is running drains, what waits is told why."""
        unpaid = self._unpaid(supervised.cluster.account_id)
        if unpaid is not None and supervised.unpaid is None:
            self._event(supervised, "unpaid", unpaid.message)
        elif unpaid is None and supervised.unpaid is not None:
            self._event(supervised, "paid", "there are funds again")
        supervised.unpaid = unpaid

    def _consider_use(self, supervised: Supervised, now: float) -> None:
        if supervised.off:
            return
        cluster = supervised.cluster
        if supervised.route.load().queued and not supervised.live():
            supervised.use()
        idle_s = supervised.idle_s(now)
        if idle_s is not None and idle_s >= cluster.timeout_s:
            if supervised.live() > cluster.capacity.min:
                self._event(supervised, "idle", f"no request for {cluster.timeout_s} s")
            supervised.rest(cluster.capacity.min)

    # --- STEP 3: act ---

    def _act(self, supervised: Supervised, action: Action, now: float) -> None:
        match action:
            case Launch():
                replica = Replica(f"in_{secrets.token_hex(8)}", since=now)
                supervised.replicas[replica.id] = replica
            case Drain(replica_id, reason):
                self._drain(supervised, supervised.replicas[replica_id], reason, now)
            case Stop(replica_id, reason, failed):
                self._stop(supervised, supervised.replicas[replica_id], reason, now, failed=failed)

    def _drain(self, supervised: Supervised, replica: Replica, reason: str, now: float) -> None:
        replica.move(ReplicaState.DRAINING, now)
        self._event(supervised, "draining", f"{replica.id}: {reason}")
        self._publish(supervised)
        if supervised.route.in_flight(replica.id) == 0:
            self._stop(supervised, replica, reason, now)

    def _stop(self, supervised: Supervised, replica: Replica, reason: str, now: float, *, failed: bool = False) -> None:
        """Takes it out of the routes, then asks for its end. Once asked, the first reason stands."""
        if replica.state is ReplicaState.QUEUED:
            replica.move(ReplicaState.STOPPED, now)
            supervised.replicas.pop(replica.id)
        elif replica.stopping is None:
            replica.stopping, replica.counts_as_failure = reason, failed
            if replica.state is not ReplicaState.DRAINING:
                replica.move(ReplicaState.DRAINING, now)
                self._publish(supervised)
            grace_s = self._policy.stop_at_once_grace_s if supervised.off else self._policy.stop_grace_s
            self._beside(self._engine.stop(replica.id, grace_s), f"stop {replica.id}")

    def _drop_queued(self, supervised: Supervised, now: float) -> None:
        for replica in list(supervised.replicas.values()):
            if replica.state is ReplicaState.QUEUED:
                self._stop(supervised, replica, "given up", now)

    # --- STEP 4: place ---

    def _place_queued(self, now: float) -> None:
        room = self._room(now)
        queued = [
            (supervised, replica)
            for supervised in self._clusters.values()
            for replica in supervised.replicas.values()
            if replica.state is ReplicaState.QUEUED
        ]
        out_of_luck: set[str] = set()  # the other replicas of a cluster need just as much
        for supervised, replica in sorted(queued, key=lambda pair: pair[1].since):
            if supervised.cluster.id not in out_of_luck:
                with self._guarding(supervised):
                    if not self._try_to_start(supervised, replica, room, now):
                        out_of_luck.add(supervised.cluster.id)

    def _try_to_start(self, supervised: Supervised, replica: Replica, room: Room, now: float) -> bool:
        """Launches a queued replica if its files are here and there is room; whether it did."""
        match self._preparations.ensure(supervised.cluster.model_id):
            case Prepared(card):
                return self._place(supervised, replica, card, room, now)
            case NotPrepared(error):
                self._give_up(supervised, error, now)
            case Preparing() as preparing:
                self._say_once(supervised, "downloading", download_words(preparing))
        return False

    def _place(self, supervised: Supervised, replica: Replica, card: ModelCard, room: Room, now: float) -> bool:
        need_bytes = supervised.terms.reserve_bytes or card.memory_bytes
        match room.find(supervised, need_bytes):
            case Placed():
                self._launch(supervised, replica, card, need_bytes, now)
                return True
            case Evict(victims, reason):
                for victim in victims:
                    self._evict(victim, supervised, now)
                self._say_once(supervised, "queued", reason)
            case Wait(reason):
                self._say_once(supervised, "queued", reason)
            case Never(reason):
                self._give_up(supervised, NoCapacity(f"{card.model_id} {reason}"), now)
        return False

    def _evict(self, victim: Tenant, to_make_room_for: Supervised, now: float) -> None:
        supervised = next(each for each in self._clusters.values() if victim.replica_id in each.replicas)
        name = name_for(supervised, to_make_room_for)
        supervised.rest(supervised.live() - 1)
        reason = f"evicted after {victim.idle_s or 0:.0f} s idle, to make room for {name}"
        self._drain(supervised, supervised.replicas[victim.replica_id], reason, now)

    def _launch(
        self, supervised: Supervised, replica: Replica, card: ModelCard, reserved_bytes: int, now: float
    ) -> None:
        cluster = supervised.cluster
        replica.move(ReplicaState.STARTING, now)
        replica.reserved_bytes = reserved_bytes
        supervised.waiting_for = None
        self._records.opened(
            cluster, replica.id, self._engine.nodes()[0].name, reserved_bytes, billed=supervised.terms.billed
        )
        self._event(supervised, "booting", f"{replica.id} starts, {gigabytes(reserved_bytes)} reserved")
        self._engine.launch(
            ReplicaSpec(
                replica_id=replica.id,
                model_id=card.model_id,
                path=str(card.path),
                task=card.task,
                runtime=card.inspection.runtime,
                remote_code=card.inspection.remote_code,
                pickled=card.inspection.pickle_only,
                max_batch=supervised.terms.max_batch or card.max_batch,
                memory_limit_bytes=supervised.terms.limit_bytes,
                secret=secrets.token_hex(16),
                log_path=str(log_path(self._log_dir, cluster, replica.id)),
            ),
            Place(self._engine.nodes()[0].name),
        )

    # --- STEP 5: publish ---

    def _publish(self, supervised: Supervised) -> None:
        links = {
            replica.id: (replica.link, replica.slots)
            for replica in supervised.replicas.values()
            if replica.state is ReplicaState.READY and replica.link is not None and not supervised.off
        }
        self._routes.publish(supervised.cluster.id, links, supervised.refusal())

    # --- STEP 6: record ---

    def _heartbeat(self) -> None:
        self._records.alive(
            [
                replica.id
                for supervised in self._clusters.values()
                for replica in supervised.replicas.values()
                if replica.state in HOLDS_MEMORY
            ]
        )

    def _count_inferences(self) -> None:
        counts = {}
        now = self._clock.now()
        for supervised in self._clusters.values():
            finished, supervised.route.finished = supervised.route.finished, 0
            if finished:
                total = supervised.cluster.inferences + finished
                supervised.cluster = replace(supervised.cluster, inferences=total, last_inference_at=now)
                counts[supervised.cluster.id] = (finished, now)
        self._records.inferences(counts)

    # --- small things ---

    def _supervise(self, cluster: Cluster, *, in_use: bool, terms: Terms = ORDINARY) -> Supervised:
        floor = cluster.capacity.desired if in_use else cluster.capacity.min
        supervised = Supervised(cluster, self._routes.ensure(cluster.id), floor, terms)
        self._clusters[cluster.id] = supervised
        self._publish(supervised)
        return supervised

    def _was_in_use(self, cluster: Cluster) -> bool:
        last = max(filter(None, (cluster.modified_at, cluster.last_inference_at)))
        return (self._clock.now() - last).total_seconds() < cluster.timeout_s

    def _wake(self, supervised: Supervised) -> None:
        supervised.wake()
        self._preparations.forgive(supervised.cluster.model_id)

    def _forget(self, supervised: Supervised) -> None:
        self._count_inferences()
        del self._clusters[supervised.cluster.id]
        self._routes.remove(supervised.cluster.id, supervised.refusal() or ClusterOff())
        self._gone.pop(supervised.cluster.id).set()

    def _say_once(self, supervised: Supervised, kind: str, reason: str) -> None:
        if supervised.waiting_for != reason:
            supervised.waiting_for = reason
            self._event(supervised, kind, reason)

    def _event(self, supervised: Supervised, kind: str, message: str) -> None:
        self._records.event(supervised.cluster, kind, message)

    def _beside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._stops.add(task)
        task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._stops.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
        self.poke()


def download_words(preparing: Preparing) -> str:
    """How far a download has got, in steps coarse enough for a log."""
    if not preparing.total_bytes:
        return "looking for the model's files"
    tenths = 10 * preparing.done_bytes // preparing.total_bytes
    return f"downloading {gigabytes(preparing.total_bytes)}, {tenths * 10} % done"


def log_path(log_dir: Path, cluster: Cluster, replica_id: str) -> Path:
    """Where a replica's output goes: a folder per account and model, a file per replica, in order of time."""
    now = datetime.now(UTC)
    stamp = f"{now:%Y%m%d-%H%M%S}-{now.microsecond:06d}"
    return log_dir / cluster.account_id / cluster.model_id.replace("/", "--") / f"{stamp}-{replica_id}.log"
