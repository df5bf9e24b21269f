"""Aliases: names of accounts' own that stand for models. Every change is counted, so that copies are cheap to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, select

from modelyard.records.aliases import Alias
from modelyard.records.clusters import Capacity
from modelyard.store.counters import count_change
from modelyard.store.database import Database, insert_into
from modelyard.store.tables import aliases, counters

COUNTER = "aliases"
"""The name of the counter of changes."""
VERSION = select(counters.c.value).where(counters.c.name == COUNTER)

Check = Callable[[Sequence[Alias]], None]
"""Takes the aliases that an account has; raises where another may not be added to them."""


class Aliases:
    """At most one alias for each account and name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self,
        account_id: str,
        name: str,
        model_id: str,
        now: datetime,
        *,
        task: str | None = None,
        capacity: Capacity | None = None,
        check: Check = lambda others: None,
        replaced: Callable[[Alias], None] = lambda before: None,
    ) -> Alias:
        """Makes the alias, or has the one there stand for this from now on. Atomic.

        `check`: is asked with the account's other aliases, which nobody changes before this one is there. `replaced`:
        is given the alias as it was, if there was one. Raises NotFound when there is no such account, and what
        `check` raises.
        """
        values = {"model_id": model_id, "task": task, **_columns(capacity), "modified_at": now}
        with self._database.write() as connection:
            count_change(connection, COUNTER)  # others wait here
            there = [
                _alias(row) for row in connection.execute(select(aliases).where(aliases.c.account_id == account_id))
            ]
            check([each for each in there if each.name != name])
            for before in there:
                if before.name == name:
                    replaced(before)
            insertion = insert_into(connection, aliases).values(
                account_id=account_id, name=name, created_at=now, **values
            )
            statement = insertion.on_conflict_do_update(index_elements=["account_id", "name"], set_=values)
            return _alias(connection.execute(statement.returning(aliases)).one())

    def remove(self, account_id: str, name: str) -> Alias | None:
        """Forgets an alias; as it was, None when there was none."""
        named = (aliases.c.account_id == account_id) & (aliases.c.name == name)
        with self._database.write() as connection:
            count_change(connection, COUNTER)
            row = connection.execute(delete(aliases).where(named).returning(aliases)).one_or_none()
        return None if row is None else _alias(row)

    def find(self, account_id: str, name: str) -> Alias | None:
        named = (aliases.c.account_id == account_id) & (aliases.c.name == name)
        with self._database.read() as connection:
            row = connection.execute(select(aliases).where(named)).one_or_none()
        return None if row is None else _alias(row)

    def list(self, account_id: str | None = None) -> Sequence[Alias]:
        """The aliases of one account, or of all, by account and name."""
        statement = select(aliases).order_by(aliases.c.account_id, aliases.c.name)
        if account_id is not None:
            statement = statement.where(aliases.c.account_id == account_id)
        with self._database.read() as connection:
            return [_alias(row) for row in connection.execute(statement)]

    def version(self) -> int:
        """How often any alias was changed; one small query."""
        with self._database.read() as connection:
            return connection.execute(VERSION).scalar_one_or_none() or 0


def _columns(capacity: Capacity | None) -> dict[str, Any]:
    if capacity is None:
        return {"capacity_min": None, "capacity_desired": None, "capacity_max": None}
    return {"capacity_min": capacity.min, "capacity_desired": capacity.desired, "capacity_max": capacity.max}


def _alias(row: Row[Any]) -> Alias:
    capacity = None
    if row.capacity_max is not None:
        capacity = Capacity(row.capacity_min, row.capacity_desired, row.capacity_max)
    return Alias(
        account_id=row.account_id,
        name=row.name,
        model_id=row.model_id,
        created_at=row.created_at,
        modified_at=row.modified_at,
        task=row.task,
        capacity=capacity,
    )
