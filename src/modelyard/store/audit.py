"""The audit log as it lasts. Lines are added in the transaction of the change that they tell; none is ever changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, or_, select, text

from modelyard.records.audit import Actor, AuditLine, AuditQuery
from modelyard.store.database import Database
from modelyard.store.tables import audit

# Any fixed number, shared by all Modelyard programs on one PostgreSQL database.
_AUDIT_LOCK = 7_405_118_003


class Audit:
    """Lines in the order they were committed: ids grow, and no lower id appears after a higher one was seen."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, line: AuditLine) -> None:
        """Appends a line, whose `before` and `after` must be JSON."""
        values = {
            "at": line.at,
            "way": line.actor.way,
            "actor": line.actor.name,
            "key_id": line.actor.key_id,
            "source": line.actor.source,
            "action": line.action,
            "account": line.account,
            "subject": line.subject,
            "before": None if line.before is None else dict(line.before),
            "after": None if line.after is None else dict(line.after),
            "outcome": line.outcome,
            "reason": line.reason,
        }
        with self.turn(), self._database.write() as connection:
            connection.execute(insert(audit), values)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A transaction that no other one which adds lines overlaps, by whichever process.

        On PostgreSQL ids are drawn when a row is written but seen when it is committed: see store/events.py.
        """
        with self._database.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _AUDIT_LOCK})
            yield

    def list(self, query: AuditQuery) -> Sequence[AuditLine]:
        """The lines that a query asks for, newest last."""
        statement = select(audit).limit(query.limit)
        for column, wanted in (("account", query.account), ("actor", query.actor), ("outcome", query.outcome)):
            if wanted is not None:
                statement = statement.where(audit.c[column] == wanted)
        if query.action is not None:
            of_noun = audit.c.action.startswith(f"{query.action}.", autoescape=True)
            statement = statement.where(or_(audit.c.action == query.action, of_noun))
        if query.since is not None:
            statement = statement.where(audit.c.at >= query.since)
        if query.before is not None:
            statement = statement.where(audit.c.id < query.before)
        if query.after is None:
            statement = statement.order_by(audit.c.id.desc())
        else:
            statement = statement.where(audit.c.id > query.after).order_by(audit.c.id)
        with self._database.read() as connection:
            found = [_line(row) for row in connection.execute(statement)]
        return found[::-1] if query.after is None else found

    def prune(self, before: datetime, limit: int) -> int:
        """Deletes lines from before `before`, the oldest first, `limit` at most; how many."""
        oldest = select(audit.c.id, audit.c.at).order_by(audit.c.id).limit(limit)
        with self._database.read() as connection:
            ids = [row.id for row in connection.execute(oldest) if row.at < before]
        if not ids:
            return 0
        with self._database.write() as connection:
            return connection.execute(delete(audit).where(audit.c.id.in_(ids))).rowcount


def _line(row: Row[Any]) -> AuditLine:
    return AuditLine(
        at=row.at,
        actor=Actor(row.way, row.actor, row.key_id, row.source),
        action=row.action,
        account=row.account,
        subject=row.subject,
        before=row.before,
        after=row.after,
        outcome=row.outcome,
        reason=row.reason,
        id=row.id,
    )
