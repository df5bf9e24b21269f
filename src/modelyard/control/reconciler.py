"""The loop that makes what runs match what is wanted: observe → plan → act → record, whenever something changed.

Owns every Replica and Supervised. All methods belong to the event loop's thread and return at once; what takes time
(a boot, a stop, a write) goes on beside the loop and pokes it when it is done.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from modelyard.clock import Clock
from modelyard.control.boots import Boots
from modelyard.control.faults import contained
from modelyard.control.placement import Placement
from modelyard.control.plan import Action, Drain, Launch, Limits, Stop, plan_cluster
from modelyard.control.policy import Policy
from modelyard.control.preparation import Preparations, Prepared
from modelyard.control.records import Records
from modelyard.control.replicas import Replica, Supervised, Terms
from modelyard.control.room import QuotaOf
from modelyard.control.routes import Routes
from modelyard.control.states import HOLDS_MEMORY, ReplicaState
from modelyard.control.stops import Stops
from modelyard.engine.base import Engine, Need, Phase, Sighting, Stray
from modelyard.errors import ClusterOff, ModelyardError
from modelyard.records.clusters import Cluster
from modelyard.records.models import ModelCard
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
        quota_of: QuotaOf,
        server_id: str,
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
        self._server_id = server_id
        self._limits = Limits(boot_s=policy.boot_s, drain_s=policy.drain_s)
        self._clusters: dict[str, Supervised] = {}
        self._gone: dict[str, asyncio.Event] = {}
        self._poke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._heartbeat_at = self._count_at = clock.monotonic()
        self._stops = Stops(engine, routes, records, policy, self.poke)
        self._boots = Boots(self._clusters, engine, preparations, records, self._stops, policy, quota_of, self.poke)
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
        """Ends the processes and closes the ledger that this server left when it was last cut off; takes up the stored
        clusters.

        A server is known by its data folder, even if it calls its node by another name (a container has a new one each
        time); what other servers run is left alone. A process is looked for on the node it ran on only.
        """
        left = await asyncio.to_thread(self._store.instances.list_left_open, self._server_id)
        strays = self._engine.end_strays(
            Stray(each.node, each.pid, each.pid_started) for each in left if each.pid and each.pid_started
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
        await self._stops.wait()
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
                log.exception("an error in the control loop")
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
            with contained(supervised):
                # STEP 2: how many should there be?
                self._consider_funds(supervised)
                self._consider_use(supervised, now)
                supervised.aim(now, self._policy.slots_per_target, self._policy.stable_window_s)
                # STEP 3: plan and act.
                for action in plan_cluster(supervised.view(now), self._limits):
                    self._act(supervised, action, now)

        # STEP 4: find room for those that wait for it, the oldest first.
        self._boots.place_queued(now)

        # STEP 5: tell the gateway who is ready.
        for supervised in list(self._clusters.values()):
            with contained(supervised):
                self._stops.publish(supervised)
                if supervised.removed and not supervised.replicas:
                    self._forget(supervised)

        # STEP 6: record that they live, and what they did.
        if now - self._heartbeat_at >= self._policy.heartbeat_s:
            self._heartbeat_at = now
            self._heartbeat()
        if now - self._count_at >= self._policy.count_s:
            self._count_at = now
            self._count_inferences()

    # --- memory for other work ---

    @property
    def memory_bytes(self) -> int:
        """What may be held on the largest node in all."""
        return self._boots.memory_bytes

    def hold(self, name: str, need: Need) -> Placement:
        """Sets memory aside for work that is no replica, if it is free somewhere now; `let_go` gives it back."""
        return self._boots.hold(name, need, self._clock.monotonic())

    def let_go(self, name: str) -> None:
        """Gives back what `hold` set aside. Idempotent."""
        self._boots.let_go(name)

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
        self._stops.publish(supervised)
        self.poke()
        return supervised

    def revive(self, cluster_id: str) -> None:
        """A request has come for a cluster that was given up: after a while it is worth another try."""
        supervised = self._clusters[cluster_id]
        kept_s = self._clock.monotonic() - supervised.failed_at
        if supervised.failure is not None and kept_s >= self._policy.failure_kept_s:
            self._wake(supervised)
            self._stops.publish(supervised)
            self.poke()

    def remove(self, cluster_id: str) -> None:
        """Begins to take a cluster down: no more requests, those that wait fail, every replica is stopped."""
        supervised = self._clusters[cluster_id]
        supervised.removed = True
        self._gone[cluster_id] = asyncio.Event()
        self._stops.publish(supervised)
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
        return self._boots.is_downloading(model_id)

    # --- STEP 1: observe ---

    def _observe(self, now: float) -> None:
        sightings = self._engine.sightings()
        for supervised in list(self._clusters.values()):
            with contained(supervised):
                for replica in list(supervised.replicas.values()):
                    if replica.state in HOLDS_MEMORY:
                        unseen = Sighting(replica.id, Phase.GONE, reason="the engine does not know it")
                        self._fold_in(supervised, replica, sightings.get(replica.id, unseen), now)

    def _fold_in(self, supervised: Supervised, replica: Replica, sighting: Sighting, now: float) -> None:
        if sighting.pid is not None and replica.pid is None:
            replica.pid = sighting.pid
            self._records.process(replica.id, sighting.pid, sighting.pid_started)
        replica.use_device(sighting.device_bytes or 0)
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
        if not supervised.off and not self._lost_its_node(replica):
            self._boots.failed(supervised, replica, reason, now, permanent=sighting.refused)

    def _lost_its_node(self, replica: Replica) -> bool:
        """Whether it died because its node did, which says nothing of its model."""
        return replica.place is not None and replica.place.node not in {node.name for node in self._engine.nodes()}

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
                self._stops.drain(supervised, supervised.replicas[replica_id], reason, now)
            case Stop(replica_id, reason, failed):
                self._stops.stop(supervised, supervised.replicas[replica_id], reason, now, failed=failed)

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
        self._stops.publish(supervised)
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

    def _event(self, supervised: Supervised, kind: str, message: str) -> None:
        self._records.event(supervised.cluster, kind, message)
