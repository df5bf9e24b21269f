"""Counters that say how often something was changed, so that who has seen it asks for one small row."""

from __future__ import annotations

from sqlalchemy import Connection, func

from modelyard.store.database import insert_into
from modelyard.store.tables import counters

CHANNEL = "modelyard_changes"
"""Where PostgreSQL tells of each change that is counted, once it is committed: the schema of its tables."""


def count_change(connection: Connection, name: str) -> int:
    """The counter's value for the change that this transaction makes.

    Changes wait for each other here until they are committed: who sees a value sees all that came before it.
    """
    insertion = insert_into(connection, counters).values(name=name, value=1)
    statement = insertion.on_conflict_do_update(index_elements=["name"], set_={"value": counters.c.value + 1})
    told = [] if connection.dialect.name == "sqlite" else [func.pg_notify(CHANNEL, func.current_schema())]
    return int(connection.execute(statement.returning(counters.c.value, *told)).one()[0])
