"""A machine's processors among the replicas on it: looks who is used, and tells each how many threads it has."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from modelyard.engine.cpu_shares import LOOK_EVERY_S, CoreShares, plan_nice, plan_threads, set_nice
from modelyard.engine.local_replica import LocalReplica
from modelyard.engine.server_time import ServerTime
from modelyard.protocol import Configure
from modelyard.records.replicas import ReplicaSpec


class Processors:
    """Shares them. `cores`: how many there are; `replicas`: of this machine, by id, also those that are gone."""

    def __init__(self, cores: int, replicas: Mapping[str, LocalReplica]) -> None:
        self.cores = cores
        self._replicas = replicas
        self._shares = CoreShares(cores)
        self._used: set[str] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._server = ServerTime()

    def threads_of_next(self, spec: ReplicaSpec) -> int:
        """Threads of a replica that is to be launched."""
        return plan_threads(self.cores, len(self._live()) + 1, spec)

    def share(self) -> None:
        """Shares them anew, as replicas have come or gone."""
        live = self._live()
        workers = Counter(replica.owner for replica in live)
        for replica in live:
            nice = plan_nice(workers[replica.owner])
            if replica.pid is not None and replica.nice != nice and set_nice(replica.pid, nice):
                replica.nice = nice
        self._tell_threads(live)

    def note_use(self, replica_id: str) -> None:
        """A request has come to a replica that had none."""
        self._used.add(replica_id)
        if self._looking is None:
            self._look_later()

    def close(self) -> None:
        """Looks no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _live(self) -> Sequence[LocalReplica]:
        return [replica for replica in self._replicas.values() if not replica.gone.is_set()]

    def _tell_threads(self, live: Sequence[LocalReplica]) -> None:
        threads = self._shares.plan({replica.spec.replica_id: replica.spec for replica in live})
        for replica in live:
            count = threads[replica.spec.replica_id]
            if replica.link is not None and replica.threads != count:
                replica.threads = count
                replica.link.configure(Configure(count))

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._looking = None
        live = self._live()
        self._used.update(each.spec.replica_id for each in live if each.link is not None and each.link.is_used)
        self._shares.look(self._used, self._server.cores_since())
        self._used.clear()
        self._tell_threads(live)
        if self._shares.is_moving:
            self._look_later()
