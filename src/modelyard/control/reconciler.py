"""The loop that makes what runs match what is wanted: observe → plan → act → record, whenever something changed.

Owns the order of the steps. A step looks at the clusters to which something has happened, or for which something is
due, not at all there are. All methods belong to the event loop's thread and return at once; what takes time (a boot, a
stop, a write) goes on beside the loop and wakes it when it is done.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from modelyard.clock import Clock
from modelyard.control.adoption import Adoption
from modelyard.control.boots import Boots
from modelyard.control.desired import DesiredState
from modelyard.control.faults import contained
from modelyard.control.holdings import Holdings
from modelyard.control.keep_alive import KeepAlive
from modelyard.control.observation import Observation
from modelyard.control.pauses import in_pieces, with_pauses
from modelyard.control.plan import Action, Deadlines, Drain, Launch, Stop, plan_cluster
from modelyard.control.policy import Policy
from modelyard.control.records import Records
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.stops import Stops
from modelyard.control.suspensions import Suspensions
from modelyard.control.work_queue import WorkQueue
from modelyard.engine.base import Engine, Place, Stray
from modelyard.errors import ClusterOff
from modelyard.store.store import Store

log = logging.getLogger(__name__)

REST_PER_STEP = 4
"""After a step the loop rests this many times as long as the step took, so that requests, which wake it, come first."""
LOOKS_PER_STEP = 8
"""Clusters that one step looks at, the others wait for the next one: about half a millisecond."""
COUNTED_PER_STEP = 50
"""Clusters that were asked, whose requests one step counts: a quarter of a millisecond at most."""
CLOSED_AT_ONCE = 20
"""Clusters, or ends of replicas, after which requests come first again as all are stopped: about half a millisecond."""
MARKED_AT_ONCE = 200
"""Clusters that are marked to be looked at, after an error, before requests come first again: the same."""
ACCOUNTS_PER_STEP = 200
"""Of those that are asked for their funds each second: a quarter of a millisecond."""
SWEEP_S = 30.0
"""How often that begins anew at most."""
SWEPT_PER_TICK = 20
"""Clusters of all there are that are looked at each second although nothing is known to have happened to them."""


class Reconciler:
    """Supervises the clusters of one server."""

    def __init__(
        self,
        desired: DesiredState,
        observation: Observation,
        holdings: Holdings,
        boots: Boots,
        stops: Stops,
        engine: Engine,
        records: Records,
        store: Store,
        clock: Clock,
        policy: Policy,
        *,
        server_id: str,
        suspensions: Suspensions,
        work: WorkQueue,
        adoption: Adoption,
        leads: Callable[[], bool],
    ) -> None:
        """`server_id`: whose lives are closed at the start. `work`: what there is to look at. `leads`: whether this is,
        at this moment, the server that acts; where it is not, a step does nothing."""
        self._desired = desired
        self._observation = observation
        self._holdings = holdings
        self._boots = boots
        self._stops = stops
        self._engine = engine
        self._records = records
        self._store = store
        self._clock = clock
        self._policy = policy
        self._server_id = server_id
        self._suspensions = suspensions
        self._keep_alive = KeepAlive(policy.cold_start_gb_s)
        self._work = work
        self._adoption = adoption
        self._leads = leads
        self._deadlines = Deadlines(boot_s=policy.boot_s, drain_s=policy.drain_s)
        self._emptied: frozenset[Place] = frozenset()
        self._tasks: list[asyncio.Task[None]] = []
        self._heartbeat_at = self._count_at = self._tick_at = clock.monotonic()
        self._sweep: Iterator[str] = iter(())
        self._sweep_at = -SWEEP_S

    # --- life ---

    async def start(self) -> None:
        """Heals what was left behind, takes up what is wanted, and starts the loop."""
        await self.recover()
        self._engine.watch(self._work.wake)
        self._tasks = [
            asyncio.create_task(self._run(), name="reconciler"),
            asyncio.create_task(self._desired.read_forever(), name="desired state"),
        ]

    async def recover(self) -> None:
        """Ends the processes and closes the ledger that this server left when it was last cut off; takes up what is
        wanted.

        A server is known by its data folder, even if it calls its node by another name (a container has a new one each
        time); what other servers run is left alone. A process is looked for on the node it ran on only.

        Where replicas outlive servers, those that live go on instead, whichever server has launched them.
        """
        if self._engine.outlives_servers:
            lives = await asyncio.to_thread(self._store.instances.list_open)
            await self._desired.read()
            return self._adoption.adopt(lives)
        left = await asyncio.to_thread(self._store.instances.list_left_open, self._server_id)
        strays = self._engine.end_strays(
            Stray(each.node, each.pid, each.pid_started) for each in left if each.pid and each.pid_started
        )
        if strays:
            log.warning("ended %d worker processes left over from an earlier server", strays)
        self._records.killed(left)
        return await self._desired.read()

    async def close(self) -> None:
        """Stops the loop, then every replica, and records their ends, unless they outlive this server. Desired state
        stays as it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        lives_on = self._engine.outlives_servers
        if lives_on:
            self._heartbeat()
        async for managed in with_pauses(self._desired.all(), CLOSED_AT_ONCE):
            self._stops.publish(managed, ClusterOff("The server is shutting down."))
            for replica in () if lives_on else managed.replicas.values():
                replica.stopping = replica.stopping or "the server was stopped"
        await self._engine.close()
        await self._stops.wait()
        while not lives_on and self._observation.has_more:
            self._observation.observe(self._clock.monotonic(), CLOSED_AT_ONCE)
            await asyncio.sleep(0)
        async for some in in_pieces(self._desired.all(), COUNTED_PER_STEP):
            self._count_inferences(some)

    async def _run(self) -> None:
        while True:
            self._work.changed.clear()
            began = time.perf_counter()
            try:
                self.step()
            except Exception:  # a bug must not end the supervision
                log.exception("an error in the control loop")
                await self._look_at_all_soon()
            await asyncio.sleep(REST_PER_STEP * (time.perf_counter() - began))
            await self._work.wait(self._clock.monotonic(), self._policy.tick_s)

    def step(self) -> None:
        """One turn of the loop."""
        if not self._leads():
            return
        now = self._clock.monotonic()

        # STEP 1: observe what became of the replicas; who is to be looked at besides?
        if now - self._tick_at >= self._policy.tick_s:
            self._tick_at = now
            self._suspensions.begin_round()
            self._add_unnoticed()
        self._note_suspended()
        self._note_emptied()
        seen = self._observation.observe(now, LOOKS_PER_STEP)
        if self._observation.has_more:
            self._work.wake()
        ids = dict.fromkeys([*seen, *self._work.take(now, max(1, LOOKS_PER_STEP - len(seen)))])
        found = [managed for each in ids if (managed := self._desired.by_id.get(each)) is not None]
        looked_at = with_relatives(found)

        for managed in looked_at:
            with contained(managed):
                self._observation.observe_cluster(managed, now)
                # STEP 2: how many should there be?
                self._suspensions.consider(managed)
                self._consider_use(managed, now)
                managed.aim(now, self._policy.slots_per_target, self._policy.stable_window_s)
                # STEP 3: plan and act.
                for action in plan_cluster(managed.view(now, self._emptied), self._deadlines):
                    self._act(managed, action, now)
            if not managed.at_rest:
                self._desired.active[managed.cluster.id] = managed
            self._holdings.note(managed)

        # STEP 4: find room for those that wait for it, those of accounts that hold the least first.
        self._boots.place_queued(now)

        # STEP 5: tell the gateway who is ready; when is each to be looked at again?
        for managed in looked_at:
            with contained(managed):
                self._stops.publish(managed)
            with contained(managed):
                self._look_again(managed, now)

        # STEP 6: record that they live, and what they did.
        if now - self._heartbeat_at >= self._policy.heartbeat_s:
            self._heartbeat_at = now
            self._heartbeat()
        if now - self._count_at >= self._policy.count_s and self._count_asked():
            self._count_at = now

    # --- STEP 1: who is looked at ---

    def _note_emptied(self) -> None:
        """Which nodes and devices are emptied; where those are others than before, all that have some there are looked
        at."""
        machines = self._holdings.know(self._engine.nodes())
        if machines.emptied != self._emptied:
            changed = {place.node for place in machines.emptied ^ self._emptied}
            self._emptied = machines.emptied
            nodes = [node for node in machines.nodes if node.name in changed]
            for managed in self._holdings.clusters_at(nodes, None):
                self._work.add(managed.cluster.id)

    def _add_unnoticed(self) -> None:
        """Some of all there are, in turn: should something happen to a cluster that nobody has told, it is found."""
        swept = list(islice(self._sweep, SWEPT_PER_TICK))
        now = self._clock.monotonic()
        if len(swept) < SWEPT_PER_TICK and now - self._sweep_at >= SWEEP_S:
            self._sweep, self._sweep_at = iter(list(self._desired.by_id)), now
        for cluster_id in swept:
            found = self._desired.by_id.get(cluster_id)
            if found is not None and (found.wanted or not found.at_rest):
                self._work.add(cluster_id)

    def _note_suspended(self) -> None:
        """Those whose account's funds have changed."""
        for managed in self._suspensions.find_changed(ACCOUNTS_PER_STEP):
            self._work.add(managed.cluster.id)
        if self._suspensions.has_more:
            self._work.wake()

    async def _look_at_all_soon(self) -> None:
        """Whatever a step that broke off has left undone is found."""
        at = self._clock.monotonic() + self._policy.tick_s
        async for cluster_id in with_pauses(list(self._desired.by_id), MARKED_AT_ONCE):
            self._work.add_at(cluster_id, at)

    # --- STEP 2: how many ---

    def _consider_use(self, managed: ManagedCluster, now: float) -> None:
        if managed.off:
            return
        cluster = managed.cluster
        managed.arrivals.note(now, cluster.inferences + managed.route.finished)
        if managed.route.load().queued and not managed.live():
            managed.use()
        self._learn(managed)
        idle_s = managed.idle_s(now)
        if idle_s is not None and idle_s >= managed.idle_timeout_s:
            if managed.live() > managed.least and not managed.unlisted:
                self._records.event(managed.cluster, "idle", f"no request for {managed.idle_timeout_s:.0f} s")
            managed.rest(cluster.capacity.min)

    def _learn(self, managed: ManagedCluster) -> None:
        """Takes the gaps that were seen; says how long idle replicas stay, where their client has left that to us."""
        route = managed.route
        seen_s, route.gaps_s = route.gaps_s, []
        if not self._policy.cold_start_gb_s or managed.cluster.timeout_given or managed.temporary or managed.unlisted:
            managed.keep_alive_s = None
            return
        self._keep_alive.learn(managed.gaps, seen_s)
        form = managed.form
        if form is not None and (seen_s or managed.keep_alive_s is None):
            held_bytes = max(form.memory_bytes, managed.held_bytes) + form.device_bytes
            managed.keep_alive_s = self._keep_alive.choose_s(managed.gaps, held_bytes, managed.cluster.timeout_s)

    # --- STEP 3: act ---

    def _act(self, managed: ManagedCluster, action: Action, now: float) -> None:
        match action:
            case Launch():
                replica = Replica(f"in_{secrets.token_hex(8)}", since=now)
                managed.replicas[replica.id] = replica
            case Drain(replica_id, reason):
                self._stops.drain(managed, managed.replicas[replica_id], reason, now)
            case Stop(replica_id, reason, failed):
                self._stops.stop(managed, managed.replicas[replica_id], reason, now, failed=failed)

    def end_stuck(self, managed: ManagedCluster, replica: Replica, reason: str) -> None:
        """Ends a replica that does not do what it is told, an adapter's with that of its base in whose process it is.
        It counts as a crash. Idempotent."""
        base = managed.base
        if (
            replica.beside is not None
            and base is not None
            and (beside := base.replicas.get(replica.beside)) is not None
        ):
            managed, replica = base, beside
        if replica.stopping is None:
            self._records.event(managed.cluster, "stuck", f"{replica.id} is ended: {reason}")
            self._stops.stop(managed, replica, f"stuck: {reason}", self._clock.monotonic(), failed=True)

    # --- STEP 5: when again ---

    def _look_again(self, managed: ManagedCluster, now: float) -> None:
        cluster_id = managed.cluster.id
        if managed.removed and not managed.replicas:
            self._count_inferences([managed])
            self._desired.forget(managed)
            return
        if managed.at_rest:
            self._desired.active.pop(cluster_id, None)
        self._work.set_due(cluster_id, managed.next_look_at(now, self._policy))

    # --- STEP 6: record ---

    def _heartbeat(self) -> None:
        self._records.alive(list(self._engine.sightings()))  # what has ended is forgotten by now

    def _count_asked(self) -> bool:
        """Counts those that were asked, as many as one step may; whether that is all of them. One without replicas may
        be at rest from now on."""
        uncounted = self._observation.uncounted
        asked = [uncounted.pop(each) for each in list(islice(uncounted, COUNTED_PER_STEP))]
        self._count_inferences(asked)
        for managed in asked:
            if not managed.replicas:
                self._work.add(managed.cluster.id)
        if uncounted:
            self._work.wake()
        return not uncounted

    def _count_inferences(self, clusters: Iterable[ManagedCluster]) -> None:
        counts = {}
        for managed in clusters:
            route = managed.route
            if route.answered_at is not None:
                managed.cluster = managed.counted()
                managed.arrivals.note(self._clock.monotonic(), managed.cluster.inferences)
                counts[managed.cluster.id] = (route.finished, route.answered_at)
                route.finished, route.answered_at = 0, None
        self._records.inferences(counts)


def with_relatives(found: Iterable[ManagedCluster]) -> list[ManagedCluster]:
    """These, and the adapters and bases that share replicas with them; a base after its adapters, for which it is
    wanted."""
    looked_at: dict[str, ManagedCluster] = {}
    for each in found:
        base = each.base or each
        looked_at.update({managed.cluster.id: managed for managed in (*base.adapters.values(), each, base)})
    return sorted(looked_at.values(), key=lambda managed: bool(managed.adapters))
