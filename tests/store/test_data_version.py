"""Whether a SQLite file may have changed: told at once, whoever wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from modelyard.store import Store
from modelyard.store.data_version import DataVersion
from tests.store.samples import at


@pytest.fixture
def sqlite_url(tmp_path: Path, database: Path) -> str:
    file = tmp_path / "modelyard.db"
    file.write_bytes(database.read_bytes())
    return f"sqlite:///{file}"


def test_what_was_committed_is_told_once_whoever_did_it(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as ours, Store.open(sqlite_url) as theirs:
        assert ours.may_have_changed()
        for store in (theirs, ours):
            assert not ours.may_have_changed()
            store.accounts.ensure(f"of {id(store)}", at(0))
            assert ours.may_have_changed()
        assert not ours.may_have_changed()


def test_what_is_undone_or_not_yet_committed_is_no_change(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as ours, Store.open(sqlite_url) as theirs:
        assert ours.may_have_changed()
        with theirs._database.write() as connection:
            connection.execute(text("DELETE FROM counters"))
            assert not ours.may_have_changed()
            connection.rollback()
        assert not ours.may_have_changed()
        with theirs._database.write() as connection:
            connection.execute(text("INSERT INTO counters VALUES ('mine', 1)"))
            assert not ours.may_have_changed()
        assert ours.may_have_changed()


def test_what_cannot_be_looked_at_may_have_changed(tmp_path: Path) -> None:
    file = tmp_path / "modelyard.db"
    file.write_bytes(b"this is no database, but long enough to be taken for one " * 20)
    version = DataVersion(file)
    assert version.has_changed()
    assert version.has_changed()
    version.close()
    version.close()


def test_a_store_that_is_closed_may_have_changed(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    store.close()
    assert store.may_have_changed()
    assert store.may_have_changed()
