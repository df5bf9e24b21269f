"""What became of the replicas: what the engine sees of them, taken over into what control knows, and noted.

Owns the moves that follow from a sighting. Starts and stops nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from modelyard.control.boots import Boots
from modelyard.control.desired import DesiredState
from modelyard.control.faults import contained
from modelyard.control.holdings import Holdings
from modelyard.control.launch_funds import LaunchFunds
from modelyard.control.policy import Policy
from modelyard.control.records import Records
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.routes import Routes
from modelyard.control.states import HOLDS_MEMORY, ReplicaState
from modelyard.control.work_queue import WorkQueue
from modelyard.engine.base import Engine, Phase, Sighting

HAVE_PROCESS = frozenset({Phase.LOADING, Phase.READY})
"""Phases that need one, wherever it runs."""


class Observation:
    """Looks at the replicas of which the engine has said something new, and at the load of clusters that were asked.
    Loop thread only."""

    def __init__(
        self,
        desired: DesiredState,
        engine: Engine,
        records: Records,
        boots: Boots,
        funds: LaunchFunds,
        routes: Routes,
        holdings: Holdings,
        work: WorkQueue,
        policy: Policy,
        on_ready: Callable[[], None],
    ) -> None:
        """`on_ready`: told of each replica that became ready."""
        self._desired = desired
        self._routes = routes
        self._holdings = holdings
        self.uncounted: dict[str, ManagedCluster] = {}
        """Those that were asked since they were counted last, by id; whoever counts takes them out."""
        self._engine = engine
        self._records = records
        self._boots = boots
        self._funds = funds
        self._work = work
        self._policy = policy
        self._on_ready = on_ready

    def observe(self, now: float, most: int) -> Collection[str]:
        """Takes over what the engine sees at this moment, of so many replicas, and of as many clusters how much they
        have to do; the ids of the clusters that are to be looked at for either. The others come with the next call."""
        sightings = self._engine.sightings()
        changed: dict[str, None] = {}
        for replica_id in sightings.take_changed(most):
            found = self._holdings.find(replica_id)
            if found is not None:
                managed, replica = found
                with contained(managed):
                    if self._observe_replica(managed, replica, sightings.get(replica_id), now):
                        changed[managed.cluster.id] = None
        for route in self._routes.take_touched(most):
            asked = self._desired.by_id.get(route.cluster_id)
            if asked is not None:
                self.uncounted[route.cluster_id] = asked
                if self._calls_for_a_look(asked, now):
                    changed[route.cluster_id] = None
        return changed

    def _calls_for_a_look(self, asked: ManagedCluster, now: float) -> bool:
        """Whether something may be to be decided about a cluster to which a request has come, or from which one has
        gone. One that is idle is looked at when it has been so for long enough, which may be now."""
        load = asked.route.load()
        if load.total == asked.seen_load and not asked.at_rest:
            return False
        asked.seen_load = load.total
        if not asked.is_enough_for(load, self._policy) or (self._policy.cold_start_gb_s and asked.route.gaps_s):
            return True
        if (at := asked.idles_out_at(now)) is not None:
            self._work.add_at(asked.cluster.id, at)
        return False

    @property
    def has_more(self) -> bool:
        """Whether the last call has left something."""
        return self._engine.sightings().have_changed or self._routes.have_been_touched

    def observe_cluster(self, managed: ManagedCluster, now: float) -> None:
        """The same for one cluster, whether or not anything is said to be new."""
        sightings = self._engine.sightings()
        for replica in list(managed.replicas.values()):
            self._observe_replica(managed, replica, sightings.get(replica.id), now)
        managed.seen_load = managed.route.load().total

    def _observe_replica(
        self, managed: ManagedCluster, replica: Replica, sighting: Sighting | None, now: float
    ) -> bool:
        """Whether its cluster is to be looked at for what is new."""
        if replica.state not in HOLDS_MEMORY:
            return False
        if sighting is None:
            sighting = Sighting(replica.id, Phase.GONE, reason="the engine does not know it")
        if sighting is replica.sighting:
            return False
        self._take_over(managed, replica, sighting, now)
        replica.sighting = sighting
        holds_more = sighting.peak_bytes is not None or sighting.device_bytes is not None
        return holds_more or sighting.phase is not Phase.LOADING

    def _take_over(self, managed: ManagedCluster, replica: Replica, sighting: Sighting, now: float) -> None:
        if not replica.started and (sighting.pid is not None or sighting.phase in HAVE_PROCESS):
            replica.started = True
            self._records.started(replica.id, sighting.pid, sighting.pid_started)
        if replica.use_device(sighting.device_bytes or 0) and not managed.temporary:
            managed.held_device_bytes = max(managed.held_device_bytes, replica.reserved_device_bytes)
        if sighting.peak_bytes is not None and sighting.peak_bytes > replica.peak_bytes:
            self._note_growth(managed, replica, sighting.peak_bytes)
        match sighting.phase:
            case Phase.LOADING if replica.state is ReplicaState.STARTING:
                replica.move(ReplicaState.LOADING, now)
            case Phase.READY if replica.state in (ReplicaState.STARTING, ReplicaState.LOADING):
                self._became_ready(managed, replica, sighting, now)
            case Phase.GONE:
                self._ended(managed, replica, sighting, now)

    def _note_growth(self, managed: ManagedCluster, replica: Replica, peak_bytes: int) -> None:
        """What a replica was seen to hold is reserved, for it and for those its cluster launches after it.

        The model's figure in the catalogue stays: it is what everybody pays by, and requests must not move it.
        """
        replica.peak_bytes = peak_bytes
        own_bytes = peak_bytes - sum(each.reserved_bytes for _, each in managed.adapters_in(replica.id))
        if own_bytes > replica.reserved_bytes and not managed.temporary:
            replica.reserved_bytes = own_bytes
            managed.held_bytes = max(managed.held_bytes, own_bytes)

    def _became_ready(self, managed: ManagedCluster, replica: Replica, sighting: Sighting, now: float) -> None:
        took_s = now - replica.since
        replica.move(ReplicaState.READY, now)
        replica.ready_at = now
        replica.link, replica.slots = sighting.link, sighting.slots
        managed.slots, managed.joins = sighting.slots, sighting.joins
        managed.ready_at = now
        managed.boot_s = took_s
        managed.failures.boot_succeeded()
        self._records.ready(managed.cluster, replica.id, took_s)
        self._on_ready()

    def _ended(self, managed: ManagedCluster, replica: Replica, sighting: Sighting, now: float) -> None:
        managed.replicas.pop(replica.id)
        self._holdings.ended(replica.id)
        self._records.work(managed, replica)
        self._engine.forget(replica.id)
        self._routes.tell_gone(replica.id)
        reason = replica.stopping or sighting.reason or "ended"
        self._records.ended(replica.id, reason, sighting.silent_s)
        self._funds.note_end(managed, replica, now)
        if replica.stopping is not None and not replica.counts_as_failure:
            replica.move(ReplicaState.STOPPED, now)
            self._records.event(managed.cluster, "stopped", f"{replica.id} stopped: {reason}")
            return
        replica.move(ReplicaState.FAILED, now)
        self._records.failed(managed.cluster, replica.id, reason)
        if not managed.off and not sighting.host_died:
            self._boots.failed(managed, replica, reason, now, permanent=sighting.refused)
