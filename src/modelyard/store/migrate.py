"""Brings a database's tables up to what this program expects. Forward only.

A database that has none is given all tables at once; Alembic takes older ones there, migration by migration. Any number
of processes may start at once: one does it, the others wait and find it done.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from modelyard.store.database import Database
from modelyard.store.tables import REVISION, alembic_version, metadata

# Any fixed number, shared by all Modelyard programs on one PostgreSQL database.
_MIGRATION_LOCK = 7_405_118_001


def migrate(database: Database) -> None:
    """Applies what is missing, in one transaction: after a failure or a kill the tables are as before. Idempotent.

    Raises Unavailable when a newer program made the tables, or the database cannot be reached.
    """
    with database.read() as connection:
        if current_revision(connection) == REVISION:
            return

    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            # However long another process takes to migrate, this one waits for it.
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        found = current_revision(connection)
        if found is None:
            make_tables(connection)
        elif found != REVISION:
            # Imported here because Alembic takes some 150 ms to import, and nearly every start finds nothing to do.
            from modelyard.store.upgrade import upgrade

            upgrade(connection, found, database.where)


def current_revision(connection: Connection) -> str | None:
    """The revision the tables are at, as Alembic noted it; None when there are none."""
    if not inspect(connection).has_table(alembic_version.name):
        return None
    return connection.scalars(text("SELECT version_num FROM alembic_version")).one_or_none()


def make_tables(connection: Connection) -> None:
    """Makes all tables, in the transaction `connection` is in. A test holds that they are those of the migrations.

    Raises SQLAlchemyError when one of them is there already.
    """
    metadata.create_all(connection, checkfirst=False)
    alembic_version.create(connection, checkfirst=False)
    connection.execute(alembic_version.insert().values(version_num=REVISION))
