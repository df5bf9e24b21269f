"""Clusters: what each account wants to run. Desired state only; what runs is observed, never stored here.

Every change takes the next version, so that whoever makes it so can ask what has changed since it last looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, case, delete, insert, or_, select, update

from modelyard.errors import UnknownCluster
from modelyard.records.clusters import Capacity, Cluster
from modelyard.store.counters import count_change
from modelyard.store.database import Database, begun_anew, insert_into
from modelyard.store.ids import new_id
from modelyard.store.tables import clusters, counters, deleted_clusters

COUNTER = "clusters"
"""The name of the counter of versions."""
VERSION = select(counters.c.value).where(counters.c.name == COUNTER)
CHANGED = select(clusters).where(clusters.c.version > bindparam("since")).order_by(clusters.c.created_at, clusters.c.id)
DELETED = select(deleted_clusters.c.id).where(deleted_clusters.c.version > bindparam("since"))
IDS = select(clusters.c.id)
"""Asked again and again, and with each change of a cluster: making a statement takes as long as running it."""
KEPT_DELETIONS = 10_000
"""How many changes a deletion is kept for: more than any server makes between two looks, and few to keep."""


@dataclass(frozen=True, slots=True)
class ChangedClusters:
    """What has changed since a version. `version`: as of which it is told. `changed`: the clusters made or changed
    since. `deleted`: the ids of those deleted since, which may be among `changed`. `ids`: of all that there are, where
    nobody can say which were deleted; None otherwise."""

    version: int
    changed: Sequence[Cluster]
    deleted: Sequence[str]
    ids: frozenset[str] | None = None


class Clusters:
    """At most one cluster for each account and model."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @begun_anew
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
        """Makes the cluster, or gives the one there these values, enables it and wakes it; True when this call made it.

        Atomic: of several at once exactly one makes it. Raises NotFound when there is no such account.
        """
        made_id = new_id("cluster")
        with self._database.write() as connection:
            version = count_change(connection, COUNTER)
            versions = {"version": version, "wake_version": version}
            insertion = insert_into(connection, clusters).values(
                id=made_id,
                account_id=account_id,
                model_id=model_id,
                **_columns(capacity),
                timeout_s=timeout_s,
                timeout_given=timeout_given,
                enabled=True,
                created_at=now,
                modified_at=now,
                inferences=0,
                **versions,
            )
            timeout = {"timeout_s": timeout_s, "timeout_given": timeout_given}
            wanted = {**_columns(capacity), **timeout, "enabled": True, "modified_at": now, **versions}
            statement = insertion.on_conflict_do_update(
                index_elements=["account_id", "model_id"], set_=wanted
            ).returning(clusters)
            cluster = _cluster(connection.execute(statement).one())
        return cluster, cluster.id == made_id

    def find(self, account_id: str, model_id: str) -> Cluster | None:
        statement = select(clusters).where(clusters.c.account_id == account_id, clusters.c.model_id == model_id)
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else _cluster(row)

    def get(self, cluster_id: str) -> Cluster:
        """Raises UnknownCluster."""
        with self._database.read() as connection:
            row = connection.execute(select(clusters).where(clusters.c.id == cluster_id)).one_or_none()
        if row is None:
            raise UnknownCluster(f"No cluster has the id {cluster_id}.")
        return _cluster(row)

    def list(self, account_id: str | None = None) -> Sequence[Cluster]:
        """The clusters of one account, or of all, oldest first; disabled ones included."""
        statement = select(clusters).order_by(clusters.c.created_at, clusters.c.id)
        if account_id is not None:
            statement = statement.where(clusters.c.account_id == account_id)
        with self._database.read() as connection:
            return [_cluster(row) for row in connection.execute(statement)]

    def find_changed(self, since: int) -> ChangedClusters | None:
        """What has changed after version `since`; None when nothing has, which takes one small query.

        Below 0: all there is. So it is where the database has not come as far: another one, which lacks the last
        changes, has taken over.

        A change that is committed meanwhile may be in it, or not; then it is told the next time, possibly once more.
        """
        with self._database.read() as connection:
            version = connection.execute(VERSION).scalar_one_or_none() or 0
            if version == since:
                return None
            is_all = since < 0 or version < since
            changed = [_cluster(row) for row in connection.execute(CHANGED, {"since": -1 if is_all else since})]
            if is_all or version - since > KEPT_DELETIONS:
                return ChangedClusters(version, changed, [], frozenset(connection.execute(IDS).scalars()))
            return ChangedClusters(version, changed, connection.execute(DELETED, {"since": since}).scalars().all())

    @begun_anew
    def update(
        self,
        cluster_id: str,
        *,
        capacity: Capacity | None = None,
        timeout_s: int | None = None,
        timeout_given: bool | None = None,
        enabled: bool | None = None,
        wake: bool = True,
        now: datetime,
    ) -> Cluster | None:
        """Changes what is given and leaves the rest; the cluster as it is then, None when it is gone.

        `wake`: one that had idled out or failed starts anew.
        """
        changes: dict[str, Any] = {"modified_at": now}
        if capacity is not None:
            changes |= _columns(capacity)
        if timeout_s is not None:
            changes["timeout_s"] = timeout_s
        if timeout_given is not None:
            changes["timeout_given"] = timeout_given
        if enabled is not None:
            changes["enabled"] = enabled
        with self._database.write() as connection:
            version = count_change(connection, COUNTER)
            changes |= {"version": version, "wake_version": version} if wake else {"version": version}
            statement = update(clusters).where(clusters.c.id == cluster_id).values(changes).returning(clusters)
            row = connection.execute(statement).one_or_none()
        return None if row is None else _cluster(row)

    @begun_anew
    def delete(self, cluster_id: str) -> bool:
        """Removes the cluster, not its instances or events; False when it was gone already."""
        with self._database.write() as connection:
            version = count_change(connection, COUNTER)
            removed = connection.execute(delete(clusters).where(clusters.c.id == cluster_id)).rowcount > 0
            if removed:
                connection.execute(insert(deleted_clusters).values(id=cluster_id, version=version))
                old = deleted_clusters.c.version < version - KEPT_DELETIONS
                connection.execute(delete(deleted_clusters).where(old))
        return removed

    def add_inferences(self, counts: Mapping[str, tuple[int, datetime]]) -> None:
        """Adds to each cluster's count and moves its last inference forward, all in one transaction.

        `counts`: cluster id → (how many more, when the latest of them was). Clusters deleted meanwhile are passed over.
        """
        if not counts:
            return
        at = bindparam("at", type_=clusters.c.last_inference_at.type)
        is_later = or_(clusters.c.last_inference_at.is_(None), clusters.c.last_inference_at < at)
        statement = (
            update(clusters)
            .where(clusters.c.id == bindparam("cluster"))
            .values(
                inferences=clusters.c.inferences + bindparam("more"),
                last_inference_at=case((is_later, at), else_=clusters.c.last_inference_at),
            )
        )
        # In order of id: two processes that lock the same rows in the same order cannot deadlock.
        rows = [{"cluster": cluster, "more": more, "at": at} for cluster, (more, at) in sorted(counts.items())]
        with self._database.write() as connection:
            connection.execute(statement, rows)


def _columns(capacity: Capacity) -> dict[str, Any]:
    return {"capacity_min": capacity.min, "capacity_desired": capacity.desired, "capacity_max": capacity.max}


def _cluster(row: Row[tuple[object, ...]]) -> Cluster:
    return Cluster(
        id=row.id,
        account_id=row.account_id,
        model_id=row.model_id,
        capacity=Capacity(min=row.capacity_min, desired=row.capacity_desired, max=row.capacity_max),
        timeout_s=row.timeout_s,
        timeout_given=row.timeout_given,
        enabled=row.enabled,
        created_at=row.created_at,
        modified_at=row.modified_at,
        inferences=row.inferences,
        last_inference_at=row.last_inference_at,
        version=row.version,
        wake_version=row.wake_version,
    )
