import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, text

from modelyard.errors import Unavailable
from modelyard.store import Store
from modelyard.store.database import Database
from modelyard.store.migrate import current_revision, migrate
from modelyard.store.tables import REVISION, metadata
from modelyard.store.upgrade import known_revisions
from tests.store.samples import at


def test_migrations_end_at_the_tables_the_program_expects(store: Store) -> None:
    with store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})

        assert compare_metadata(context, metadata) == []


def test_migrations_make_the_same_checks_and_keys_as_the_tables(store: Store) -> None:
    """Alembic does not compare these."""
    with store._database.read() as connection:
        seen = inspect(connection)
        for table in metadata.sorted_tables:
            checks = {check["name"] for check in seen.get_check_constraints(table.name)}
            expected = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
            assert checks == expected, table.name
            key = seen.get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key], table.name


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
