"""What the control loop writes down: the ledger of instances, the counts, each cluster's log.

Owns the form of the records; the journal owns their way to the store. Every method returns at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.tallies import Eviction, Tallies
from modelyard.engine.base import Need, Place
from modelyard.errors import ModelyardError
from modelyard.records.clusters import Cluster
from modelyard.records.instances import Instance, Tariff
from modelyard.store.store import Store


class Records:
    """Takes notes for one reconciler."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        clock: Clock,
        server_id: str,
        tariff: Tariff | None = None,
        describe: Callable[[ModelyardError], str] = str,
    ) -> None:
        """`clock`: a steady one, for bills are made of its moments. `server_id`: in whose name lives are entered.
        `tariff`: the terms of what is launched from now on; None: nobody is billed. `describe`: an error in the words
        of those who read the log."""
        self._journal = journal
        self._store = store
        self._clock = clock
        self._server_id = server_id
        self._tariff = tariff
        self._describe = describe
        self.tallies = Tallies()

    @property
    def held_up(self) -> bool:
        """Whether nothing new may begin, since what comes of it could not be recorded."""
        return self._journal.refusal is not None

    def event(self, cluster: Cluster, kind: str, message: str) -> None:
        """Adds a line to the cluster's log."""
        self._journal.event(cluster.account_id, cluster.model_id, cluster.id, kind, message)

    def problem(self, cluster: Cluster, kind: str, error: ModelyardError) -> None:
        """Adds to the cluster's log what keeps it from running."""
        self.event(cluster, kind, self._describe(error))

    def opened(self, cluster: Cluster, replica_id: str, node: str, memory_bytes: int, *, billed: bool = True) -> None:
        """A replica's life begins. `billed`: it goes on its account's bill."""
        now = self._clock.now()
        instance = Instance(
            id=replica_id,
            cluster_id=cluster.id,
            account_id=cluster.account_id,
            model_id=cluster.model_id,
            node=node,
            memory_bytes=memory_bytes,
            created_at=now,
            heartbeat_at=now,
            tariff=self._tariff if billed else None,
            server_id=self._server_id,
        )
        self._journal.submit(partial(self._store.instances.open, instance))

    def started(self, replica_id: str, pid: int | None, pid_started: int | None) -> None:
        """A replica has a process; `pid`: where that is on this machine."""
        now = self._clock.now()
        note = partial(self._store.instances.update, replica_id, pid=pid, pid_started=pid_started)
        self._journal.submit(partial(note, started_at=now, heartbeat_at=now))

    def ready(self, cluster: Cluster, replica_id: str, took_s: float) -> None:
        """A replica became ready, so long after its launch."""
        now = self._clock.now()
        self._journal.submit(partial(self._store.instances.update, replica_id, ready_at=now, heartbeat_at=now))
        self.event(cluster, "ready", f"{replica_id} is ready after {took_s:.2f} s")
        self.tallies.replicas.of(cluster.model_id).boots.observe(took_s)

    def work(self, managed: ManagedCluster, replica: Replica) -> None:
        """Counts what a replica has done since this was asked last; a job's are not counted."""
        if replica.link is not None and not managed.temporary:
            before, replica.counted_work = replica.counted_work, replica.link.work
            if before is not replica.counted_work:
                self.tallies.replicas.of(managed.cluster.model_id).add_work(before, replica.counted_work)

    def evicted(self, cluster: Cluster, replica_id: str, place: Place, need: Need, reason: str) -> None:
        """A replica is to make room for another. `need`: what it has reserved."""
        now = self._clock.now()
        self.tallies.add_eviction(Eviction(now, replica_id, cluster.account_id, cluster.model_id, place, need, reason))

    def failed(self, cluster: Cluster, replica_id: str, reason: str) -> None:
        """A replica ended that nobody had asked to."""
        self.event(cluster, "failed", f"{replica_id} failed: {reason}")
        self.tallies.replicas.of(cluster.model_id).failures += 1

    def withdrawn(self, replica_id: str) -> None:
        """A billed replica whose process runs, and that is not ready yet, is not wanted any more: its time counts from
        the start of that, else boots that are taken back in time would cost nothing."""
        if self._tariff is not None and self._tariff.counts == "ready":
            terms = replace(self._tariff, counts="life")
            self._journal.submit(partial(self._store.instances.update, replica_id, tariff=terms))

    def adopted(self, replica_ids: Collection[str]) -> None:
        """These replicas live, and are this server's from now on."""
        if replica_ids:
            adopt = partial(self._store.instances.adopt, replica_ids, self._server_id, self._clock.now())
            self._journal.submit(adopt)

    def alive(self, replica_ids: Collection[str]) -> None:
        """These replicas live."""
        if replica_ids and not self._journal.failing:  # else hundreds would wait
            self._journal.submit(partial(self._store.instances.heartbeat, replica_ids, self._clock.now()))

    def ended(self, replica_id: str, reason: str, silent_s: float = 0.0) -> None:
        """A replica's life is over; it is not known to have lived for the last `silent_s`, which nobody pays."""
        at = self._clock.now() - timedelta(seconds=silent_s)
        self._journal.submit(partial(self._store.instances.end, replica_id, at, reason))

    def killed(self, instances: Iterable[Instance], reason: str = "the server was killed") -> None:
        """These lives were cut off when a server ended: each ends where it was last known to go on."""
        for instance in instances:
            self._journal.submit(partial(self._store.instances.end, instance.id, instance.heartbeat_at, reason))

    def inferences(self, counts: Mapping[str, tuple[int, datetime]]) -> None:
        """Cluster id → how many more inferences it answered, and when the last one was."""
        if counts:
            self._journal.submit(partial(self._store.clusters.add_inferences, counts))
