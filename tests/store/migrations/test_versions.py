from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from modelyard.errors import Unavailable
from modelyard.store import Store
from modelyard.store.database import Database
from modelyard.store.migrate import current_revision, migrate
from modelyard.store.tables import REVISION, metadata
from modelyard.store.upgrade import known_revisions, upgrade
from tests.store.samples import at


class Undone(Exception):
    """Ends a transaction that is to leave nothing."""


def test_migrations_end_at_the_tables_the_program_expects(empty_url: str) -> None:
    """A new database gets those. Alembic compares neither checks nor keys, nor names."""
    database = Database(empty_url)
    with suppress(Undone), database.write() as connection:
        upgrade(connection, None, database.where)
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert current_revision(connection) == REVISION
        migrated = described(connection)
        raise Undone

    migrate(database)

    with database.read() as connection:
        assert current_revision(connection) == REVISION
        assert described(connection) == migrated
    database.close()


def described(connection: Connection) -> dict[str, Any]:
    """All tables of a database, with what is in them in any order."""
    seen = inspect(connection)
    return {
        name: {
            "columns": by_name(seen.get_columns(name)),
            "key": seen.get_pk_constraint(name),
            "references": by_name(seen.get_foreign_keys(name)),
            "unique": by_name(seen.get_unique_constraints(name)),
            "indexes": by_name(seen.get_indexes(name)),
            "checks": by_name(seen.get_check_constraints(name)),
        }
        for name in seen.get_table_names()
    }


def by_name(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Parts of a table by their names, types and conditions as SQL."""
    return {part["name"]: in_words(part) for part in parts}


def in_words(value: Any) -> Any:
    """The same, with words for what cannot be compared."""
    if isinstance(value, Mapping):
        return {name: in_words(each) for name, each in value.items()}
    return str(value)


def test_the_newest_migration_is_the_one_the_tables_name() -> None:
    assert known_revisions()[0] == REVISION


def test_opening_again_changes_nothing(empty_url: str) -> None:
    with Store.open(empty_url) as store:
        account = store.accounts.create("ada", at(0))

    with Store.open(empty_url) as store, store._database.read() as connection:
        assert current_revision(connection) == REVISION
        assert store.accounts.list() == [account]


def test_tables_made_by_a_newer_program_are_left_alone(store: Store, url: str) -> None:
    with store._database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9000'"))

    with pytest.raises(Unavailable, match=r"newer Modelyard .*v9000.*Upgrade"):
        Store.open(url)

    with store._database.read() as connection:
        assert current_revision(connection) == "v9000"


def test_a_migration_that_fails_leaves_no_table(empty_url: str) -> None:
    database = Database(empty_url)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE models (taken INTEGER)"))

    with pytest.raises(Exception, match="models"):
        migrate(database)

    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["models"]
    database.close()
