"""What a user meets when a database cannot be opened or used: a sentence that says what to do."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from modelyard.errors import InvalidRequest, Unavailable
from modelyard.records.accounts import Account
from modelyard.store import Store
from tests.store.samples import CAPACITY, MODEL, at, line


@contextmanager
def another_writer(url: str) -> Iterator[None]:
    """Holds what a writer of clusters needs, from outside."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.close()
    else:
        with psycopg.connect(url) as held:
            held.execute("LOCK TABLE clusters IN EXCLUSIVE MODE")
            yield


def test_records_outlive_the_process_that_opened_the_store(empty_url: str) -> None:
    with Store.open(empty_url) as store:
        account = store.accounts.create("ada", at(0))

    with Store.open(empty_url) as store:
        assert store.accounts.list() == [account]


def test_a_store_locked_by_another_says_so(url: str) -> None:
    with Store.open(url, lock_timeout_s=0.05) as store:
        account = store.accounts.create("ada", at(0))

        with another_writer(url), pytest.raises(Unavailable, match=r"locked by another writer for 0\.05 s"):
            store.clusters.put(account.id, MODEL, CAPACITY, 60, at(0))

        assert store.clusters.put(account.id, MODEL, CAPACITY, 60, at(0))[1]


def test_a_new_file_locked_by_another_says_so(tmp_path: Path) -> None:
    file = tmp_path / "modelyard.db"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(Unavailable, match="locked"):
        Store.open(f"sqlite:///{file}", lock_timeout_s=0.05)

    other.close()
    Store.open(f"sqlite:///{file}").close()


def test_reading_waits_for_no_writer(store: Store, account: Account, url: str) -> None:
    cluster, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(0))

    with another_writer(url):
        assert store.clusters.list() == [cluster]


def test_a_closed_store_is_not_opened_again_by_accident(store: Store) -> None:
    store.close()
    store.close()

    with pytest.raises(Unavailable, match="closed"):
        store.accounts.list()
    with pytest.raises(Unavailable, match="closed"):
        store.accounts.create("ada", at(0))


def test_closing_lets_go_of_every_file(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/modelyard.db") as store:
        store.accounts.create("ada", at(0))

    assert [path.name for path in tmp_path.iterdir()] == ["modelyard.db"]


def test_sqlite_is_set_up_for_many_readers_and_a_writer(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/modelyard.db") as store, store._database.write() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert pragma == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def drop_and_fail() -> None:
        with store._database.write() as connection:
            connection.exec_driver_sql("DROP TABLE events")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drop_and_fail()

    assert store.events.list(None) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"Cannot open the database file .*/none/modelyard\.db"):
        Store.open(f"sqlite:///{tmp_path}/none/modelyard.db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "modelyard.db"
    file.write_text("shopping list\n" * 1000)

    with pytest.raises(Unavailable, match="is not a SQLite database"):
        Store.open(f"sqlite:///{file}")

    assert file.read_text() == "shopping list\n" * 1000


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Cannot open"):
        Store.open(f"sqlite:///{tmp_path}")


def test_a_database_that_does_not_keep_texts_in_utf8_is_refused(postgresql_server: str) -> None:
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0 STRATEGY FILE_COPY"
        )

    with pytest.raises(Unavailable, match=r"/ascii\S* keeps texts as SQL_ASCII, .* UTF8"):
        Store.open(postgresql_server.replace("/postgres?", "/ascii?"))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "modelyard.db"
    Store.open(f"sqlite:///{file}").close()
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))

    with pytest.raises(Unavailable, match="damaged"):
        Store.open(f"sqlite:///{file}")


def test_a_store_may_live_under_any_path(tmp_path: Path) -> None:
    folder = tmp_path / "my données 100% #1"
    folder.mkdir()

    Store.open(f"sqlite:///{folder}/modelyard.db").close()

    assert (folder / "modelyard.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "modelyard.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+aiosqlite:///x.db",
        "mysql://ada:secret@localhost/x",
        "postgresql://ada:secret@localhost:port/x",
        "redis://localhost?password=secret",
    ],
)
def test_another_kind_of_url_is_refused_with_what_is_accepted(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"database_url: got .* accepted: sqlite:///PATH") as refused:
        Store.open(url)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:secret@127.0.0.1:1/x",
        "postgres://127.0.0.1:1/x?user=ada&password=secret",
        "postgresql:///x?host=/nowhere&user=ada&password=secret",
    ],
)
def test_a_server_that_does_not_answer_is_named_without_its_password(url: str) -> None:
    with pytest.raises(Unavailable, match=r"PostgreSQL at .* cannot answer: ") as refused:
        Store.open(url)

    assert refused.value.data["cause"] == "no answer"
    assert "secret" not in str(refused.value)


def test_a_missing_database_is_named(postgresql_server: str) -> None:
    with pytest.raises(Unavailable, match='database "none" does not exist'):
        Store.open(postgresql_server.replace("/postgres?", "/none?"))


def test_a_user_without_rights_is_told(empty_postgresql_url: str, postgresql_schema: str) -> None:
    guest = f"{postgresql_schema}_guest"
    with psycopg.connect(empty_postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {guest} LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {postgresql_schema} TO {guest}")

    with pytest.raises(Unavailable, match=f"permission denied for schema {postgresql_schema}") as refused:
        Store.open(empty_postgresql_url.replace("//postgres:@", f"//{guest}@"))

    assert refused.value.data["cause"] == "no right"


def test_a_connection_the_server_dropped_is_made_anew(postgresql_url: str) -> None:
    drop = "SELECT pg_terminate_backend(pid, 50000) FROM pg_stat_activity WHERE application_name = %s"
    with (
        Store.open(f"{postgresql_url}&application_name=dropped") as store,
        psycopg.connect(postgresql_url, autocommit=True) as connection,
    ):
        assert connection.execute(drop, ["dropped"]).fetchall() == [(True,)]

        assert store.accounts.list() == []


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/modelyard.db") as store:
        account = store.accounts.create("ada", at(0))
        with store._database.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        with pytest.raises(Unavailable, match="is full"):
            store.events.add([line(account, "x" * 100_000)])


def test_a_waiting_thread_gives_up_when_its_time_is_over(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/modelyard.db", lock_timeout_s=0.05) as store:
        holding, release = threading.Event(), threading.Event()

        def hold() -> None:
            with store._database.write():
                holding.set()
                release.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        holding.wait(60)
        with pytest.raises(Unavailable, match="locked"):
            store.accounts.create("ada", at(0))
        release.set()
        thread.join()
