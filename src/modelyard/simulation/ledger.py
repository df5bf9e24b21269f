"""What the simulated control plane writes and reads: the clusters and lives of a store, in memory.

Owns the rows. Has of a store what control asks of it, with the same meaning, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from modelyard.records.clusters import Capacity, Cluster, Event
from modelyard.records.instances import Instance
from modelyard.store.clusters import ChangedClusters
from modelyard.store.store import Store


class MemoryClusters:
    """As `store.clusters.Clusters`, for clusters that are only made."""

    def __init__(self) -> None:
        self._all: list[Cluster] = []  # each one's version is its place, from 1 on

    def put(
        self,
        account_id: str,
        model_id: str,
        capacity: Capacity,
        timeout_s: int,
        now: datetime,
        *,
        timeout_given: bool = True,
    ) -> tuple[Cluster, bool]:
        """Makes a cluster, of which there is none yet."""
        version = len(self._all) + 1
        cluster = Cluster(
            f"cluster-{version}", account_id, model_id, capacity, timeout_s, True, now, now,
            version=version, wake_version=version, timeout_given=timeout_given,
        )  # fmt: skip
        self._all.append(cluster)
        return cluster, True

    def find_changed(self, since: int) -> ChangedClusters | None:
        """Those made after version `since`."""
        changed = self._all[max(0, since) :]
        return ChangedClusters(len(self._all), changed, []) if changed or since < 0 else None

    def add_inferences(self, counts: Mapping[str, tuple[int, datetime]]) -> None:
        """Counts are kept by whoever replays."""


class MemoryInstances:
    """As `store.instances.Instances`: the ledger that bills are made of."""

    def __init__(self) -> None:
        self.by_id: dict[str, Instance] = {}

    def open(self, instance: Instance) -> None:
        """Enters a life."""
        self.by_id.setdefault(instance.id, instance)

    def update(self, instance_id: str, **given: Any) -> Instance | None:
        """Records what is given, and not None, of a life that is open."""
        instance = self.by_id.get(instance_id)
        if instance is None or instance.ended_at is not None:
            return None
        known = {name: value for name, value in given.items() if value is not None}
        self.by_id[instance_id] = instance = replace(instance, **known)
        return instance

    def heartbeat(self, instance_ids: Collection[str], now: datetime) -> None:
        """Nobody reads when a life was last known to go on: where replicas end with their server, that does not die."""

    def end(self, instance_id: str, at: datetime, reason: str) -> bool:
        """Closes a life, not before it was ready."""
        instance = self.by_id.get(instance_id)
        if instance is None or instance.ended_at is not None:
            return False
        moments = (at, instance.created_at, instance.started_at, instance.ready_at)
        self.by_id[instance_id] = replace(instance, ended_at=max(filter(None, moments)), end_reason=reason)
        return True

    def list_left_open(self, server_id: str) -> Sequence[Instance]:
        """Of an earlier server: there was none."""
        return []


class LastingInstances(MemoryInstances):
    """The same where replicas outlive servers: the next one reads who lives, and when each was last known to."""

    def heartbeat(self, instance_ids: Collection[str], now: datetime) -> None:
        """Notes that these were alive at `now`."""
        for each in instance_ids:
            self.update(each, heartbeat_at=now)

    def adopt(self, instance_ids: Collection[str], server_id: str, now: datetime) -> None:
        """Notes that these lives are that server's, and were alive at `now`."""
        for each in instance_ids:
            self.update(each, server_id=server_id, heartbeat_at=now)

    def list_open(self) -> Sequence[Instance]:
        """The lives that have not ended, oldest first."""
        return [each for each in self.by_id.values() if each.ended_at is None]


class MemoryEvents:
    """As `store.events.Events`: nobody reads the clusters' logs."""

    def add(self, events: Sequence[Event]) -> None:
        """Lets them go."""


class MemoryRequests:
    """As `store.requests.Requests`: whoever replays keeps what became of each."""

    def settle_left_over(self, server_id: str, now: datetime) -> None:
        """Of an earlier server: there was none."""


class Ledger:
    """A store's repositories, as far as control asks for them."""

    def __init__(self, *, outlives_servers: bool = False) -> None:
        """`outlives_servers`: whether replicas do."""
        self.clusters = MemoryClusters()
        self.instances = LastingInstances() if outlives_servers else MemoryInstances()
        self.events = MemoryEvents()
        self.requests = MemoryRequests()

    def may_have_changed(self) -> bool:
        """Nobody else writes."""
        return False

    def as_store(self) -> Store:
        """Itself, for whoever asks for a store and means no more of it than there is here."""
        return cast(Store, self)
