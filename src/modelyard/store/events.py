"""The log each cluster keeps for people to read. Bounded by age and length; it outlives the cluster."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, delete, func, insert, select, text

from modelyard.records.clusters import Event
from modelyard.store.database import Database
from modelyard.store.tables import events

# Any fixed number, shared by all Modelyard programs on one PostgreSQL database.
_EVENTS_LOCK = 7_405_118_002


class Events:
    """Lines in the order they were committed: ids grow, and no lower id appears after a higher one was seen."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, lines: Collection[Event]) -> None:
        """Appends them in this order, all or none. `data` must be JSON; ids in the lines are ignored."""
        if not lines:
            return
        rows = [
            {
                "account_id": line.account_id,
                "model_id": line.model_id,
                "cluster_id": line.cluster_id,
                "at": line.at,
                "kind": line.kind,
                "message": line.message,
                "data": dict(line.data),
            }
            for line in lines
        ]
        with self._database.write() as connection:
            _take_turn(connection)
            connection.execute(insert(events), rows)

    def list(
        self, account_id: str | None, model_id: str | None = None, after_id: int | None = None, limit: int = 100
    ) -> Sequence[Event]:
        """At most `limit` lines of one account (None: of all), newest last.

        Without `after_id`: the newest ones. With it: the next ones after that id, so a reader who passes the last
        id it saw misses none, however many came.
        """
        statement = select(events).limit(limit)
        if account_id is not None:
            statement = statement.where(events.c.account_id == account_id)
        if model_id is not None:
            statement = statement.where(events.c.model_id == model_id)
        if after_id is None:
            statement = statement.order_by(events.c.id.desc())
        else:
            statement = statement.where(events.c.id > after_id).order_by(events.c.id)
        with self._database.read() as connection:
            found = [_event(row) for row in connection.execute(statement)]
        return found[::-1] if after_id is None else found

    def prune_old(self, before: datetime, limit: int) -> int:
        """Deletes lines from before `before`, the oldest first, `limit` at most; how many.

        It looks at the first lines there are, not at all: one that a clock set back has dated too late waits for it.
        """
        oldest = select(events.c.id, events.c.at).order_by(events.c.id).limit(limit)
        with self._database.read() as connection:
            ids = [row.id for row in connection.execute(oldest) if row.at < before]
        return self._delete(ids)

    def prune_excess(self, keep_per_cluster: int, limit: int) -> int:
        """Deletes all but the newest `keep_per_cluster` lines of each account and model, `limit` at most; how many."""
        log = (events.c.account_id, events.c.model_id)
        too_long = select(*log).group_by(*log).having(func.count() > keep_per_cluster).limit(1)
        with self._database.read() as connection:
            found = connection.execute(too_long).first()
            if found is None:
                return 0
            ids = select(events.c.id).where(events.c.account_id == found[0], events.c.model_id == found[1])
            count: int = connection.execute(select(func.count()).select_from(ids.subquery())).scalar_one()
            doomed = connection.scalars(ids.order_by(events.c.id).limit(min(limit, count - keep_per_cluster))).all()
        return self._delete(doomed)

    def _delete(self, ids: Sequence[int]) -> int:
        if not ids:
            return 0
        with self._database.write() as connection:
            return connection.execute(delete(events).where(events.c.id.in_(ids))).rowcount


def _take_turn(connection: Connection) -> None:
    """On PostgreSQL, makes the transactions that write events follow one another.

    Ids are drawn when a row is written but seen when it is committed; were two writers to overlap, a reader could
    see id 8, ask for what comes after it, and never learn of id 7. SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _EVENTS_LOCK})


def _event(row: Row[tuple[object, ...]]) -> Event:
    return Event(
        id=row.id,
        account_id=row.account_id,
        model_id=row.model_id,
        cluster_id=row.cluster_id,
        at=row.at,
        kind=row.kind,
        message=row.message,
        data=row.data,
    )
