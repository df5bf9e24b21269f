"""What the next leader makes of the replicas that the one before it has left: those that live and are wanted go on.

Owns how a replica that was found becomes one of a cluster's. Launches nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from modelyard.clock import Clock
from modelyard.control.desired import DesiredState
from modelyard.control.holdings import Holdings
from modelyard.control.records import Records
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.states import ReplicaState
from modelyard.control.stops import Stops
from modelyard.engine.base import Engine, Phase, Sighting
from modelyard.records.instances import Instance
from modelyard.records.replicas import ReplicaSpec

log = logging.getLogger(__name__)

LOST = "it ended while no server led"
TOLD_S = 3.0
"""For how long a replica that was found is not drained: gateways of other servers tell the next leader which requests
they have there as soon as they follow it, which takes them a fraction of this."""


class Adoption:
    """One leader's start."""

    def __init__(
        self,
        desired: DesiredState,
        engine: Engine,
        records: Records,
        stops: Stops,
        clock: Clock,
        holdings: Holdings,
        wake: Callable[[str], None],
    ) -> None:
        """`desired` was read. `wake`: told of each cluster that has replicas again, by its id."""
        self._desired = desired
        self._engine = engine
        self._records = records
        self._stops = stops
        self._clock = clock
        self._holdings = holdings
        self._wake = wake

    def adopt(self, lives: Sequence[Instance]) -> None:
        """Goes on with the replicas of these lives, which nobody has ended; ends those that live and are not wanted,
        closes the lives of those that are gone, and what nobody knows ends, too.

        A replica without a life in the ledger was launched by a server that died before that was written.
        """
        found = {each.replica_id: each for each in self._engine.sightings().values() if each.phase is not Phase.GONE}
        rows = {each.id: each for each in lives}
        self._records.killed([each for each in lives if each.id not in found], LOST)
        adopted: dict[str, ManagedCluster] = {}
        for replica_id, sighting in sorted(found.items(), key=is_adapter):
            managed = self._find_cluster(sighting.spec, rows.get(replica_id), adopted)
            if managed is None or sighting.spec is None:
                self._stops.end_unwanted(replica_id, known=replica_id in rows)
            else:
                self._take(managed, sighting, sighting.spec, rows.get(replica_id))
                adopted[replica_id] = managed
        self._records.adopted([each for each in adopted if each in rows])
        for replica_id, managed in adopted.items():
            self._records.event(managed.cluster, "adopted", f"{replica_id} goes on: another server leads now")
        for managed in dict.fromkeys(adopted.values()):
            self._go_on(managed)
        for replica_id in [each for each, sighting in self._engine.sightings().items() if sighting.phase is Phase.GONE]:
            self._engine.forget(replica_id)
        if found:
            log.warning("another server's replicas go on: %d of %d", len(adopted), len(found))

    def _find_cluster(
        self, spec: ReplicaSpec | None, life: Instance | None, adopted: Mapping[str, ManagedCluster]
    ) -> ManagedCluster | None:
        """The cluster that a replica belongs to; None: it is not wanted."""
        managed = None if spec is None else self._desired.by_id.get(spec.cluster_id)
        if managed is None or spec is None:
            return None
        if spec.beside is None:
            return managed if life is not None else None
        base = adopted.get(spec.beside)
        if base is None:
            return None
        managed.base = base
        base.adapters[managed.cluster.id] = managed
        return managed

    def _take(self, managed: ManagedCluster, sighting: Sighting, spec: ReplicaSpec, life: Instance | None) -> None:
        now = self._clock.monotonic()
        replica = Replica(
            sighting.replica_id,
            since=now,
            state=ReplicaState.STARTING,
            place=sighting.place,
            reserved_bytes=spec.need_bytes,
            reserved_device_bytes=spec.need_device_bytes,
            priced_bytes=0 if life is None else life.memory_bytes,
            started=life is not None and life.started_at is not None,
            beside=spec.beside,
            untold_until=now + TOLD_S,
        )
        managed.replicas[replica.id] = replica
        was_ready = spec.beside is not None if life is None else life.ready_at is not None
        if sighting.phase is not Phase.READY or not was_ready:
            return  # that it is ready is noted when it is seen
        replica.move(ReplicaState.READY, now)
        replica.link, replica.slots = sighting.link, sighting.slots
        replica.ready_at = managed.ready_at = now
        managed.slots, managed.joins = sighting.slots, sighting.joins
        if life is not None and life.ready_at is not None:
            replica.ready_at = now - (self._clock.now() - life.ready_at).total_seconds()
            managed.boot_s = (life.ready_at - (life.started_at or life.created_at)).total_seconds()

    def _go_on(self, managed: ManagedCluster) -> None:
        """As many as there are stay for as long as they would have: until the cluster idles out, or its window has
        passed without the load that they were launched for."""
        count = len(managed.replicas)
        managed.floor = max(managed.floor, min(count, managed.cluster.capacity.desired))
        managed.demand.resume(self._clock.monotonic(), count)
        self._desired.active[managed.cluster.id] = managed
        self._holdings.note(managed)
        self._stops.publish(managed)
        self._wake(managed.cluster.id)


def is_adapter(found: tuple[str, Sighting]) -> bool:
    """Orders replicas so that those come first in whose processes others run."""
    spec = found[1].spec
    return spec is not None and spec.beside is not None
