"""The ledger: one row for each replica's life. Bills are made from it, so it outlives clusters and crashes.

A life that ended is never changed again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import ColumnElement, Row, Select, bindparam, case, or_, select, update

from modelyard.records.instances import Instance, Tariff
from modelyard.store.database import Database, insert_into
from modelyard.store.tables import downloads, instances

# Made once: each statement that is made leaves a hundred objects in cycles, and each boot takes some.
_IS_OPEN = (instances.c.id == bindparam("instance_id")) & instances.c.ended_at.is_(None)
_UPDATE = update(instances).where(_IS_OPEN).returning(instances)
_MOMENT = bindparam("moment", type_=downloads.c.used_at.type)
_USE_FILES = (
    update(downloads)
    .where(downloads.c.model_id == bindparam("model"), downloads.c.used_at < _MOMENT)
    .values(used_at=_MOMENT)
)
"""Notes that a model's files were in use at a moment. Never moves it back."""
_LATEST: ColumnElement[datetime] = instances.c.created_at
for _known in (instances.c.started_at, instances.c.ready_at, bindparam("end_at", type_=instances.c.ended_at.type)):
    _LATEST = case((_known > _LATEST, _known), else_=_LATEST)
_END = (
    update(instances)
    .where(_IS_OPEN)
    .values(ended_at=_LATEST, end_reason=bindparam("reason"))
    .returning(instances.c.model_id)
)
"""Closes an open life at the latest of its moments that are known."""

# Locked in order of id, so that two processes beating for the same instances cannot deadlock.
_ALIVE = (
    select(instances.c.id)
    .where(
        instances.c.id.in_(bindparam("instance_ids", expanding=True)),
        instances.c.ended_at.is_(None),
        instances.c.heartbeat_at < _MOMENT,
    )
    .order_by(instances.c.id)
    .with_for_update()
)
_HEARTBEAT = update(instances).where(instances.c.id.in_(_ALIVE)).values(heartbeat_at=_MOMENT)
BEATING_AT_ONCE = 500
"""Lives that one statement notes: one with ten thousand values holds up who else wants to compute, a millisecond and
more at a time."""


class Instances:
    """Every replica life there was, on all nodes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, instance: Instance) -> None:
        """Enters a life under `instance.id` (see `new_id`), and that its model's files are used. Idempotent: an id that
        is there already is left as it is.

        Raises NotFound when there is no such account.
        """
        with self._database.write() as connection:
            statement = insert_into(connection, instances).values(asdict(instance))
            connection.execute(statement.on_conflict_do_nothing(index_elements=["id"]))
            connection.execute(_USE_FILES, {"model": instance.model_id, "moment": instance.created_at})

    def update(
        self,
        instance_id: str,
        *,
        started_at: datetime | None = None,
        ready_at: datetime | None = None,
        memory_bytes: int | None = None,
        pid: int | None = None,
        pid_started: int | None = None,
        heartbeat_at: datetime | None = None,
        tariff: Tariff | None = None,
    ) -> Instance | None:
        """Records what is given of an open life; the life as it is then, None when it has ended or never was."""
        given = {
            "started_at": started_at,
            "ready_at": ready_at,
            "memory_bytes": memory_bytes,
            "pid": pid,
            "pid_started": pid_started,
            "heartbeat_at": heartbeat_at,
            "tariff": None if tariff is None else asdict(tariff),
        }
        changes = {name: value for name, value in given.items() if value is not None}
        which = {"instance_id": instance_id}
        if not changes:
            with self._database.read() as connection:
                row = connection.execute(select(instances).where(_IS_OPEN), which).one_or_none()
        else:
            with self._database.write() as connection:
                row = connection.execute(_UPDATE, {**which, **changes}).one_or_none()
        return None if row is None else _instance(row)

    def heartbeat(self, instance_ids: Collection[str], now: datetime) -> None:
        """Notes that these were alive at `now`. Never moves a heartbeat back; passes over lives that have ended."""
        if not instance_ids:
            return
        ids = sorted(instance_ids)
        with self._database.write() as connection:
            for begin in range(0, len(ids), BEATING_AT_ONCE):
                which = ids[begin : begin + BEATING_AT_ONCE]
                connection.execute(_HEARTBEAT, {"instance_ids": which, "moment": now})

    def adopt(self, instance_ids: Collection[str], server_id: str, now: datetime) -> None:
        """Notes that these lives, if they have not ended, are that server's, and were alive at `now`."""
        is_it = instances.c.id.in_(instance_ids) & instances.c.ended_at.is_(None)
        latest = case((instances.c.heartbeat_at > now, instances.c.heartbeat_at), else_=now)
        with self._database.write() as connection:
            connection.execute(update(instances).where(is_it).values(server_id=server_id, heartbeat_at=latest))

    def end(self, instance_id: str, at: datetime, reason: str) -> bool:
        """Closes a life; True when this call did. The first end wins, a later one changes nothing.

        A life never ends before it began, started or was ready, even when a clock was set back: it then ends there.
        """
        end = {"instance_id": instance_id, "end_at": at, "reason": reason}
        with self._database.write() as connection:
            model_id = connection.scalars(_END, end).one_or_none()
            if model_id is not None:
                connection.execute(_USE_FILES, {"model": model_id, "moment": at})
        return model_id is not None

    def end_those_of_others(self, server_id: str, reason: str) -> int:
        """Closes every open life of other servers where it was last known to go on; how many there were.

        For the one server of this database, which knows that no other one lives.
        """
        is_theirs = instances.c.ended_at.is_(None) & (instances.c.server_id != server_id)
        statement = update(instances).where(is_theirs).values(ended_at=instances.c.heartbeat_at, end_reason=reason)
        with self._database.write() as connection:
            return connection.execute(statement).rowcount

    def list_left_open(self, server_id: str) -> Sequence[Instance]:
        """The lives that have not ended and that only this server can end, oldest first.

        Those of a server of before there were ids are among them: none such can run on these tables.
        """
        is_own = or_(instances.c.server_id == server_id, instances.c.server_id.is_(None))
        return self._select(select(instances).where(instances.c.ended_at.is_(None), is_own))

    def list_open(self, node: str | None = None) -> Sequence[Instance]:
        """The lives that have not ended, on one node or on all, oldest first."""
        statement = select(instances).where(instances.c.ended_at.is_(None))
        if node is not None:
            statement = statement.where(instances.c.node == node)
        return self._select(statement)

    def list(
        self,
        account_id: str | None,
        model_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[Instance]:
        """The lives of one account (None: of all) that touch the time from `since` up to `until`, oldest first."""
        statement = select(instances)
        if account_id is not None:
            statement = statement.where(instances.c.account_id == account_id)
        if model_id is not None:
            statement = statement.where(instances.c.model_id == model_id)
        if since is not None:
            statement = statement.where(or_(instances.c.ended_at.is_(None), instances.c.ended_at > since))
        if until is not None:
            statement = statement.where(instances.c.created_at < until)
        return self._select(statement)

    def _select(self, statement: Select[tuple[object, ...]]) -> Sequence[Instance]:
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(instances.c.created_at, instances.c.id))
            return [_instance(row) for row in rows]


def _instance(row: Row[tuple[object, ...]]) -> Instance:
    return Instance(
        id=row.id,
        cluster_id=row.cluster_id,
        account_id=row.account_id,
        model_id=row.model_id,
        node=row.node,
        memory_bytes=row.memory_bytes,
        created_at=row.created_at,
        heartbeat_at=row.heartbeat_at,
        started_at=row.started_at,
        ready_at=row.ready_at,
        ended_at=row.ended_at,
        end_reason=row.end_reason,
        pid=row.pid,
        pid_started=row.pid_started,
        tariff=None if row.tariff is None else Tariff(**row.tariff),
        server_id=row.server_id,
    )
