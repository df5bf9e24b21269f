"""What became of the replicas: what the engine sees of them, taken over into what control knows, and noted.

Owns the moves that follow from a sighting. Starts and stops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelyard.control.boots import Boots
from modelyard.control.desired import DesiredState
from modelyard.control.faults import contained
from modelyard.control.records import Records
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.states import HOLDS_MEMORY, ReplicaState
from modelyard.engine.base import Engine, Phase, Sighting

HAVE_PROCESS = frozenset({Phase.LOADING, Phase.READY})
"""Phases that need one, wherever it runs."""


class Observation:
    """Looks at every replica, and closely at those of which the engine has said something new. Loop thread only."""

    def __init__(
        self,
        desired: DesiredState,
        engine: Engine,
        records: Records,
        boots: Boots,
    ) -> None:
        self._desired = desired
        self._engine = engine
        self._records = records
        self._boots = boots

    def observe(self, now: float) -> Sequence[str]:
        """Takes over what the engine sees at this moment; the ids of the clusters for which that, or their load, is
        new."""
        sightings = self._engine.sightings()
        changed = []
        for managed in list(self._desired.active.values()):
            with contained(managed):
                if self._observe_cluster(managed, sightings, now):
                    changed.append(managed.cluster.id)
        return changed

    def _observe_cluster(self, managed: ManagedCluster, sightings: Mapping[str, Sighting], now: float) -> bool:
        load = managed.route.load().total
        new = load != managed.seen_load
        managed.seen_load = load
        for replica in list(managed.replicas.values()):
            if replica.state in HOLDS_MEMORY:
                sighting = sightings.get(replica.id)
                if sighting is None:
                    sighting = Sighting(replica.id, Phase.GONE, reason="the engine does not know it")
                if sighting is not replica.sighting:
                    self._take_over(managed, replica, sighting, now)
                    replica.sighting = sighting
                    new = True
        return new

    def _take_over(self, managed: ManagedCluster, replica: Replica, sighting: Sighting, now: float) -> None:
        if not replica.started and (sighting.pid is not None or sighting.phase in HAVE_PROCESS):
            replica.started = True
            self._records.started(replica.id, sighting.pid, sighting.pid_started)
        replica.use_device(sighting.device_bytes or 0)
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

    def _ended(self, managed: ManagedCluster, replica: Replica, sighting: Sighting, now: float) -> None:
        managed.replicas.pop(replica.id)
        self._records.work(managed, replica)
        self._engine.forget(replica.id)
        reason = replica.stopping or sighting.reason or "ended"
        self._records.ended(replica.id, reason)
        self._boots.note_end(managed, replica, now)
        if replica.stopping is not None and not replica.counts_as_failure:
            replica.move(ReplicaState.STOPPED, now)
            self._records.event(managed.cluster, "stopped", f"{replica.id} stopped: {reason}")
            return
        replica.move(ReplicaState.FAILED, now)
        self._records.failed(managed.cluster, replica.id, reason)
        if not managed.off and not sighting.host_died:
            self._boots.failed(managed, replica, reason, now, permanent=sighting.refused)
