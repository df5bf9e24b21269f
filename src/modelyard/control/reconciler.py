"""The loop that makes what runs match what is wanted: observe → plan → act → record, whenever something changed.

Owns every Replica and Supervised. All methods belong to the event loop's thread and return at once; what takes time
(a boot, a stop, a write) goes on beside the loop and pokes it when it is done.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.control.placement import Evict, Never, Placed, Tenant, Wait, gigabytes, place
from modelyard.control.plan import Action, Drain, Launch, Limits, Stop, plan_cluster
from modelyard.control.preparation import NotPrepared, Preparations, Prepared, Preparing
from modelyard.control.replicas import Replica, Supervised
from modelyard.control.routes import Routes
from modelyard.control.states import ReplicaState
from modelyard.engine.base import Engine, Phase, Sighting
from modelyard.errors import BootFailed, ClusterOff, ModelyardError, NoCapacity
from modelyard.store.store import Store
from modelyard.types import Cluster, Instance, ModelCard, ReplicaSpec

log = logging.getLogger(__name__)

_HOLDS_MEMORY = frozenset({ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY, ReplicaState.DRAINING})


@dataclass(frozen=True, slots=True)
class Policy:
    """The loop's numbers. Seconds unless named otherwise."""

    boot_s: float = 600.0
    drain_s: float = 120.0
    stop_grace_s: float = 5.0
    stable_window_s: float = 60.0
    tick_s: float = 1.0
    heartbeat_s: float = 10.0
    count_s: float = 2.0
    back_off_s: float = 0.5
    back_off_max_s: float = 30.0
    max_failed_boots: int = 3
    max_crashes: int = 5
    crash_window_s: float = 600.0
    failure_kept_s: float = 30.0
    slots_per_target: int = 4
    """A replica that batches is worth a second one beside it when a quarter of its slots are taken: beyond that, a
    larger batch adds more waiting than throughput (see benchmarks)."""


class Reconciler:
    """Supervises all clusters of this server."""

    def __init__(
        self,
        engine: Engine,
        routes: Routes,
        preparations: Preparations,
        journal: Journal,
        store: Store,
        clock: Clock,
        policy: Policy,
        log_dir: Path,
    ) -> None:
        self._engine = engine
        self._routes = routes
        self._preparations = preparations
        self._journal = journal
        self._store = store
        self._clock = clock
        self._policy = policy
        self._limits = Limits(boot_s=policy.boot_s, drain_s=policy.drain_s)
        self._log_dir = log_dir
        self._clusters: dict[str, Supervised] = {}
        self._poke = asyncio.Event()
        self._stepped = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._stops: set[asyncio.Task[None]] = set()
        self._heartbeat_at = self._count_at = clock.monotonic()

    # --- life ---

    async def start(self) -> None:
        """Heals what an earlier server left behind, takes up the stored clusters, and starts the loop."""
        node = self._engine.nodes()[0].name
        left = await asyncio.to_thread(self._store.instances.list_open, node)
        strays = self._engine.end_strays((i.pid, i.pid_started) for i in left if i.pid and i.pid_started)
        if strays:
            log.warning("ended %d worker processes left over from an earlier server", strays)
        for instance in left:
            self._journal.submit(
                partial(self._store.instances.end, instance.id, instance.heartbeat_at, "the server was killed")
            )
        for cluster in await asyncio.to_thread(self._store.clusters.list):
            self._supervise(cluster, in_use=self._was_in_use(cluster))
        self._engine.watch(self.poke)
        self._routes.on_demand = self.poke
        self._preparations.on_change = self.poke
        self._task = asyncio.create_task(self._run(), name="reconciler")

    async def close(self) -> None:
        """Stops the loop, then every replica, and records their ends. Desired state stays as it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for supervised in self._clusters.values():
            self._routes.fail(supervised.cluster.id, ClusterOff("The server is shutting down."))
            for replica in supervised.replicas.values():
                replica.stopping = "the server was stopped"
        await asyncio.gather(*self._stops, return_exceptions=True)
        await self._engine.close()
        self._observe(self._clock.monotonic())
        self._count_inferences()

    def poke(self) -> None:
        """Something changed: look now."""
        self._poke.set()

    async def _run(self) -> None:
        while True:
            self._poke.clear()
            try:
                self.step()
            except Exception:  # a bug must not stop the supervision of every other cluster
                log.exception("the reconciler stumbled")
            async with self._stepped:
                self._stepped.notify_all()
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
            # STEP 2: how many should there be?
            self._consider_idling(supervised, now)
            supervised.aim(now, self._target(supervised), self._policy.stable_window_s)
            # STEP 3: plan and act.
            for action in plan_cluster(supervised.view(now), self._limits):
                self._act(supervised, action, now)

        # STEP 4: find room for those that wait for it, the oldest first.
        self._place_queued(now)

        # STEP 5: tell the gateway who is ready.
        for supervised in list(self._clusters.values()):
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

    # --- what the gateway may ask ---

    def supervised(self, cluster_id: str) -> Supervised:
        """A cluster as it is now. Raises KeyError."""
        return self._clusters[cluster_id]

    def clusters(self) -> Iterable[Supervised]:
        """All of them, those being deleted included."""
        return self._clusters.values()

    def adopt(self, cluster: Cluster) -> Supervised:
        """Takes new desired state; a cluster that had idled out or failed starts anew."""
        supervised = self._clusters.get(cluster.id)
        if supervised is None:
            supervised = self._supervise(cluster, in_use=True)
        else:
            supervised.cluster = replace(cluster, inferences=max(cluster.inferences, supervised.cluster.inferences))
            supervised.wake()
            supervised.needed.clear()
            self._routes.fail(cluster.id, None)
        supervised.route.last_activity = self._clock.monotonic()
        if not cluster.enabled:
            self._routes.fail(cluster.id, off_error(cluster.model_id))
        self.poke()
        return supervised

    def revive(self, cluster_id: str) -> None:
        """A request has come for a cluster that was given up: after a while it is worth another try."""
        supervised = self._clusters[cluster_id]
        if supervised.failure is not None and (
            self._clock.monotonic() - supervised.failed_at >= self._policy.failure_kept_s
        ):
            supervised.wake()
            self._routes.fail(cluster_id, None)
            self.poke()

    def remove(self, cluster_id: str) -> None:
        """Begins to take a cluster down: no new requests, every replica stopped."""
        supervised = self._clusters[cluster_id]
        supervised.removed = True
        self._routes.fail(cluster_id, ClusterOff("The cluster was deleted while this request waited."))
        self.poke()

    async def wait_until_gone(self, cluster_id: str, deadline_s: float) -> None:
        """Returns when a removed cluster has no replica left, or after `deadline_s`."""
        try:
            async with asyncio.timeout(deadline_s), self._stepped:
                await self._stepped.wait_for(lambda: cluster_id not in self._clusters)
        except TimeoutError:
            log.warning("cluster %s is still stopping after %.0f s", cluster_id, deadline_s)

    def is_downloading(self, model_id: str) -> bool:
        """Whether the model's files are on their way."""
        return isinstance(self._preparations.find(model_id), Preparing)

    # --- STEP 1: observe ---

    def _observe(self, now: float) -> None:
        sightings = self._engine.sightings()
        for supervised in self._clusters.values():
            for replica in list(supervised.replicas.values()):
                if sighting := sightings.get(replica.id):
                    self._fold_in(supervised, replica, sighting, now)

    def _fold_in(self, supervised: Supervised, replica: Replica, sighting: Sighting, now: float) -> None:
        match sighting.phase:
            case Phase.LOADING if replica.state is ReplicaState.STARTING:
                replica.move(ReplicaState.LOADING, now)
                self._enter_process(replica, sighting)
            case Phase.READY if replica.state in (ReplicaState.STARTING, ReplicaState.LOADING):
                self._became_ready(supervised, replica, sighting, now)
            case Phase.GONE:
                self._ended(supervised, replica, sighting, now)

    def _became_ready(self, supervised: Supervised, replica: Replica, sighting: Sighting, now: float) -> None:
        took_s = now - replica.since
        if replica.state is ReplicaState.STARTING:
            self._enter_process(replica, sighting)
        replica.move(ReplicaState.READY, now)
        replica.link, replica.slots = sighting.link, sighting.slots
        supervised.slots = sighting.slots
        supervised.ready_at = now
        supervised.failed_boots = 0
        self._journal.submit(partial(self._store.instances.update, replica.id, ready_at=self._clock.now()))
        self._event(supervised, "ready", f"{replica.id} is ready after {took_s:.2f} s")

    def _ended(self, supervised: Supervised, replica: Replica, sighting: Sighting, now: float) -> None:
        supervised.replicas.pop(replica.id)
        self._engine.forget(replica.id)
        reason = replica.stopping or sighting.reason or "ended"
        expected = replica.stopping is not None and not replica.counts_as_failure
        was_ready = replica.state is ReplicaState.READY
        replica.move(ReplicaState.STOPPED if expected else ReplicaState.FAILED, now)
        self._journal.submit(partial(self._store.instances.end, replica.id, self._clock.now(), reason))
        if expected:
            self._event(supervised, "stopped", f"{replica.id} stopped: {reason}")
        else:
            self._event(supervised, "failed", f"{replica.id} failed: {reason}")
            self._failed(supervised, reason, now, was_ready=was_ready, permanent=sighting.refused)

    def _failed(self, supervised: Supervised, reason: str, now: float, *, was_ready: bool, permanent: bool) -> None:
        policy = self._policy
        self._preparations.forget(supervised.cluster.model_id)
        supervised.crashes = [at for at in supervised.crashes if at > now - policy.crash_window_s] + [now]
        supervised.failed_boots += not was_ready
        if permanent or supervised.failed_boots >= policy.max_failed_boots:
            tries = "" if permanent else f" ({supervised.failed_boots} tries)"
            self._give_up(supervised, BootFailed(f"{supervised.cluster.model_id} did not start{tries}: {reason}"), now)
        elif len(supervised.crashes) > policy.max_crashes:
            minutes = policy.crash_window_s / 60
            said = f"crashed {len(supervised.crashes)} times within {minutes:.0f} minutes, last: {reason}"
            self._give_up(supervised, BootFailed(f"{supervised.cluster.model_id} {said}"), now)
        elif supervised.failed_boots:
            delay_s = min(policy.back_off_max_s, policy.back_off_s * 2 ** (supervised.failed_boots - 1))
            supervised.retry_at = now + delay_s
            asyncio.get_running_loop().call_later(delay_s, self.poke)

    def _give_up(self, supervised: Supervised, error: ModelyardError, now: float) -> None:
        """Stops trying to boot. A cluster with replicas that work keeps them, and tries to add more later."""
        if ReplicaState.READY in supervised.states():
            supervised.retry_at = now + self._policy.failure_kept_s
            self._event(supervised, "cannot scale", error.message)
            return
        supervised.failure = error
        supervised.failed_at = now
        self._event(supervised, "gave up", error.message)
        self._routes.fail(supervised.cluster.id, error)

    # --- STEP 2: how many ---

    def _consider_idling(self, supervised: Supervised, now: float) -> None:
        load = supervised.route.load()
        if load.total:
            supervised.resting = False
            if load.queued and not supervised.live():
                supervised.floor = max(supervised.floor, supervised.cluster.capacity.desired)
        idle_s = supervised.idle_s(now)
        if idle_s is not None and idle_s >= supervised.cluster.timeout_s and not supervised.resting:
            if supervised.live() > supervised.cluster.capacity.min:
                self._event(supervised, "idle", f"no request for {supervised.cluster.timeout_s} s")
            supervised.rest()

    def _target(self, supervised: Supervised) -> int:
        return max(1, supervised.slots // self._policy.slots_per_target)

    # --- STEP 3: act ---

    def _act(self, supervised: Supervised, action: Action, now: float) -> None:
        match action:
            case Launch():
                replica = Replica(f"in_{secrets.token_hex(8)}", since=now)
                supervised.replicas[replica.id] = replica
            case Drain(replica_id, reason):
                replica = supervised.replicas[replica_id]
                replica.move(ReplicaState.DRAINING, now)
                self._event(supervised, "draining", f"{replica_id}: {reason}")
                if self._leave_routes(supervised, replica) == 0:
                    self._stop(supervised, replica, reason)
            case Stop(replica_id, reason, failed):
                replica = supervised.replicas[replica_id]
                replica.counts_as_failure = failed
                self._leave_routes(supervised, replica)
                self._stop(supervised, replica, reason)
                if replica.state not in (ReplicaState.QUEUED, ReplicaState.DRAINING):
                    replica.move(ReplicaState.DRAINING, now)

    def _leave_routes(self, supervised: Supervised, replica: Replica) -> int:
        """Takes a replica out of the routes at once; returns what it still has in flight."""
        self._publish(supervised)
        return supervised.route.in_flight(replica.id)

    def _stop(self, supervised: Supervised, replica: Replica, reason: str) -> None:
        if replica.state is ReplicaState.QUEUED:
            supervised.replicas.pop(replica.id)
        elif replica.stopping is None:
            replica.stopping = reason
            grace_s = 0.5 if supervised.off else self._policy.stop_grace_s
            self._beside(self._engine.stop(replica.id, grace_s), f"stop {replica.id}")

    # --- STEP 4: place ---

    def _place_queued(self, now: float) -> None:
        queued = [
            (supervised, replica)
            for supervised in self._clusters.values()
            for replica in supervised.replicas.values()
            if replica.state is ReplicaState.QUEUED
        ]
        for supervised, replica in sorted(queued, key=lambda pair: pair[1].since):
            match self._preparations.ensure(supervised.cluster.model_id):
                case Prepared(card):
                    self._place(supervised, replica, card, now)
                case NotPrepared(error):
                    supervised.replicas.pop(replica.id, None)
                    if supervised.failure is None:
                        self._give_up(supervised, error, now)
                case Preparing() as preparing:
                    self._say_once(supervised, "downloading", download_words(preparing))

    def _place(self, supervised: Supervised, replica: Replica, card: ModelCard, now: float) -> None:
        node = self._engine.nodes()[0]
        first = not any(state in _HOLDS_MEMORY for state in supervised.states())
        tenants = list(self._tenants(supervised, now))
        match place(card.memory_bytes, node.memory_bytes, tenants, may_evict=first):
            case Placed():
                self._launch(supervised, replica, card, node.name, now)
            case Evict(victims):
                for victim in victims:
                    self._evict(victim, supervised, now)
                self._say_once(supervised, "queued", f"waiting for {', '.join(v.model_id for v in victims)} to leave")
            case Wait(reason):
                self._say_once(supervised, "queued", reason)
            case Never(reason):
                supervised.replicas.pop(replica.id)
                self._give_up(supervised, NoCapacity(f"{card.model_id} {reason}"), now)

    def _tenants(self, asking: Supervised, now: float) -> Iterable[Tenant]:
        for supervised in self._clusters.values():
            idle_s = supervised.idle_s(now) if supervised is not asking else None
            spare = supervised.live() - supervised.bounds().min
            for replica in supervised.replicas.values():
                if replica.state in _HOLDS_MEMORY:
                    evictable = idle_s is not None and replica.state is ReplicaState.READY and spare > 0
                    spare -= evictable
                    yield Tenant(
                        replica.id,
                        supervised.cluster.model_id,
                        replica.reserved_bytes,
                        idle_s if evictable else None,
                    )

    def _evict(self, victim: Tenant, to_make_room_for: Supervised, now: float) -> None:
        for supervised in self._clusters.values():
            if replica := supervised.replicas.get(victim.replica_id):
                supervised.rest()
                supervised.floor = min(supervised.floor, supervised.live() - 1)
                reason = f"evicted after {victim.idle_s:.0f} s idle, to make room for {to_make_room_for.cluster.model_id}"
                self._act(supervised, Drain(replica.id, reason), now)

    def _launch(self, supervised: Supervised, replica: Replica, card: ModelCard, node: str, now: float) -> None:
        replica.move(ReplicaState.STARTING, now)
        replica.reserved_bytes = card.memory_bytes
        supervised.waiting_for = None
        moment = self._clock.now()
        cluster = supervised.cluster
        self._journal.submit(
            partial(
                self._store.instances.open,
                Instance(
                    id=replica.id,
                    cluster_id=cluster.id,
                    account_id=cluster.account_id,
                    model_id=cluster.model_id,
                    node=node,
                    memory_bytes=card.memory_bytes,
                    created_at=moment,
                    heartbeat_at=moment,
                ),
            )
        )
        self._event(supervised, "booting", f"{replica.id} starts, {gigabytes(card.memory_bytes)} reserved")
        self._engine.launch(
            ReplicaSpec(
                replica_id=replica.id,
                model_id=card.model_id,
                path=str(card.path),
                task=card.task,
                runtime=card.library,
                remote_code=card.remote_code,
                secret=secrets.token_hex(16),
                log_path=str(log_path(self._log_dir, cluster, replica.id)),
            )
        )

    def _enter_process(self, replica: Replica, sighting: Sighting) -> None:
        if sighting.pid is not None:
            self._journal.submit(
                partial(
                    self._store.instances.update, replica.id, pid=sighting.pid, pid_started=sighting.pid_started
                )
            )

    # --- STEP 5: publish ---

    def _publish(self, supervised: Supervised) -> None:
        links = {
            replica.id: (replica.link, replica.slots)
            for replica in supervised.replicas.values()
            if replica.state is ReplicaState.READY and replica.link is not None and not supervised.off
        }
        self._routes.publish(supervised.cluster.id, links)

    # --- STEP 6: record ---

    def _heartbeat(self) -> None:
        alive = [
            replica.id
            for supervised in self._clusters.values()
            for replica in supervised.replicas.values()
            if replica.state in _HOLDS_MEMORY
        ]
        if alive:
            self._journal.submit(partial(self._store.instances.heartbeat, alive, self._clock.now()))

    def _count_inferences(self) -> None:
        counts = {}
        for supervised in self._clusters.values():
            finished, supervised.route.finished = supervised.route.finished, 0
            if finished:
                moment = self._clock.now()
                cluster = supervised.cluster
                supervised.cluster = replace(
                    cluster, inferences=cluster.inferences + finished, last_inference_at=moment
                )
                counts[cluster.id] = (finished, moment)
        if counts:
            self._journal.submit(partial(self._store.clusters.add_inferences, counts))

    # --- small things ---

    def _supervise(self, cluster: Cluster, *, in_use: bool) -> Supervised:
        capacity = cluster.capacity
        supervised = Supervised(
            cluster, self._routes.ensure(cluster.id), floor=capacity.desired if in_use else capacity.min
        )
        self._clusters[cluster.id] = supervised
        if not cluster.enabled:
            self._routes.fail(cluster.id, off_error(cluster.model_id))
        return supervised

    def _was_in_use(self, cluster: Cluster) -> bool:
        last = max(filter(None, (cluster.modified_at, cluster.last_inference_at)))
        return (self._clock.now() - last).total_seconds() < cluster.timeout_s

    def _forget(self, supervised: Supervised) -> None:
        self._count_inferences()
        del self._clusters[supervised.cluster.id]
        self._routes.remove(supervised.cluster.id, ClusterOff("The cluster was deleted while this request waited."))

    def _say_once(self, supervised: Supervised, kind: str, reason: str) -> None:
        if supervised.waiting_for != reason:
            supervised.waiting_for = reason
            self._event(supervised, kind, reason)

    def _event(self, supervised: Supervised, kind: str, message: str) -> None:
        cluster = supervised.cluster
        self._journal.event(cluster.account_id, cluster.model_id, cluster.id, kind, message)

    def _beside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)


def off_error(model_id: str) -> ClusterOff:
    """What a request to a switched-off cluster gets."""
    return ClusterOff(f'The cluster of {model_id} is off. Switch it on with PATCH {{"status": "on"}}.')


def download_words(preparing: Preparing) -> str:
    """How far a download has got, in steps coarse enough for a log."""
    if not preparing.total_bytes:
        return "looking for the model's files"
    tenths = 10 * preparing.done_bytes // preparing.total_bytes
    return f"downloading {gigabytes(preparing.total_bytes)}, {tenths * 10} % done"


def log_path(log_dir: Path, cluster: Cluster, replica_id: str) -> Path:
    """Where a replica's output goes: a folder per account and model, a file per replica, in order of time."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return log_dir / cluster.account_id / cluster.model_id.replace("/", "--") / f"{stamp}-{replica_id}.log"


