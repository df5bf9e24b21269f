"""What PostgreSQL tells of changes: at once, and of those alone that were committed; where it tells nothing, it is
asked."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, make_url

from modelyard.records.clusters import Capacity
from modelyard.store import Store, notices
from modelyard.store.notices import Notices
from tests.engine.harness import eventually
from tests.store.samples import at

LONG_S = 1000.0


@pytest.fixture(autouse=True)
def only_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks because time has passed; it is tried out all the time whether notifications come."""
    monkeypatch.setattr(notices, "ASK_S", LONG_S)
    for name in ("AGAIN_S", "TRY_S"):
        monkeypatch.setattr(notices, name, 0.01)


def put(store: Store, model_id: str = "tests/echo") -> None:
    """Makes a cluster of a new account's."""
    account = store.accounts.ensure(f"of {model_id}", at(0))
    store.clusters.put(account.id, model_id, Capacity(), 600, at(0))


async def heard(store: Store) -> None:
    """Returns when it is told what changes, and all of that has been asked for."""
    await eventually(lambda: not store.may_have_changed() and changes_of(store).come)


async def all_told(store: Store) -> None:
    """Returns when it has heard of all that was committed before: what was tried out after that has come."""
    tried: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        tried.extend([statement] if "pg_notify" in statement else [])

    engine = store._database._engine
    event.listen(engine, "before_cursor_execute", note)
    await eventually(lambda: len(tried) >= 2)
    event.remove(engine, "before_cursor_execute", note)


def changes_of(store: Store) -> Notices:
    changes = store._database._changes
    assert isinstance(changes, Notices)
    return changes


async def test_what_was_committed_is_told_once_whoever_did_it(postgresql_url: str) -> None:
    with Store.open(postgresql_url) as ours, Store.open(postgresql_url) as theirs:
        assert ours.may_have_changed()
        await heard(ours)
        for number, store in enumerate((theirs, ours)):
            put(store, f"tests/echo-{number}")
            await eventually(ours.may_have_changed)
            await all_told(ours)
            assert not ours.may_have_changed()


async def test_what_is_undone_or_not_yet_committed_is_no_change(postgresql_url: str) -> None:
    with Store.open(postgresql_url) as ours, Store.open(postgresql_url) as theirs:
        await heard(ours)
        with suppress(ZeroDivisionError), theirs._database.write():
            put(theirs, "tests/undone")
            raise ZeroDivisionError
        with theirs._database.write():
            put(theirs)
            await all_told(ours)
            assert not ours.may_have_changed()
        await eventually(ours.may_have_changed)


async def test_changes_in_another_schema_concern_nobody(empty_postgresql_url: str, postgresql_server: str) -> None:
    from tests.store.postgresql import create_schema, url_of_schema

    other_url = url_of_schema(postgresql_server, create_schema(postgresql_server))
    with Store.open(empty_postgresql_url) as ours, Store.open(other_url) as others:
        await heard(ours)
        await heard(others)
        put(others)
        await eventually(others.may_have_changed)
        await all_told(ours)
        assert not ours.may_have_changed()


async def test_a_change_of_which_the_notification_was_lost_is_asked_for(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(postgresql_url) as store:
        await heard(store)
        monkeypatch.setattr(notices, "ASK_S", 0.2)
        await eventually(store.may_have_changed)


async def test_where_the_connection_breaks_it_is_asked_until_another_one_hears(
    postgresql_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(postgresql_url) as store, psycopg.connect(postgresql_url, autocommit=True) as connection:
        await heard(store)
        monkeypatch.setattr(notices, "AGAIN_S", LONG_S)
        listening = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        ended = connection.execute(f"SELECT pg_terminate_backend(pid) {listening}").fetchall()
        assert ended == [(True,)]
        await eventually(lambda: not changes_of(store).come)
        assert store.may_have_changed()
        assert store.may_have_changed()
        assert "it is asked for changes instead" in caplog.text

    monkeypatch.setattr(notices, "AGAIN_S", 0.01)
    with Store.open(postgresql_url) as store, psycopg.connect(postgresql_url, autocommit=True) as connection:
        await heard(store)
        connection.execute(f"SELECT pg_terminate_backend(pid) {listening}")
        put(store)  # told to nobody, maybe
        await eventually(store.may_have_changed)
        await heard(store)
        put(store, "tests/told")
        await eventually(store.may_have_changed)


async def test_where_no_notification_comes_it_is_asked_every_time(
    postgresql_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "HEARD_S", 0.1)
    async with without_notifications(postgresql_url) as (url, dropped):
        with await asyncio.to_thread(Store.open, url) as store:
            assert store.may_have_changed()
            await eventually(lambda: dropped() >= 3)
            assert store.may_have_changed()
            assert store.may_have_changed()
            assert not changes_of(store).come
            assert caplog.text.count("it is asked for changes instead: one was not there within 0.1 s") == 1
            await asyncio.to_thread(store.close)


async def test_a_store_that_is_closed_listens_no_more(postgresql_url: str) -> None:
    store = Store.open(postgresql_url)
    await heard(store)
    store.close()
    store.close()
    assert store.may_have_changed()
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        clients = "datname = current_database() AND backend_type = 'client backend'"

        def is_alone() -> bool:
            return connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {clients}").fetchone() == (1,)

        await eventually(is_alone)


@asynccontextmanager
async def without_notifications(url: str) -> AsyncIterator[tuple[str, Callable[[], int]]]:
    """The same database through a proxy that passes on all but notifications, as a pooler does that gives each
    transaction another connection: its URL, and how many it has kept to itself."""
    dropped = 0
    connections: set[asyncio.Task[None] | None] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, whole: bool) -> None:
        nonlocal dropped
        with suppress(OSError, asyncio.IncompleteReadError):
            while not whole and (data := await reader.read(65536)):
                writer.write(data)
            while whole:
                head = await reader.readexactly(5)
                body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
                if head.startswith(b"A"):
                    dropped += 1
                else:
                    writer.write(head + body)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        server_reader, server_writer = await asyncio.open_unix_connection(socket_of(url))
        await asyncio.gather(pass_on(reader, server_writer, whole=False), pass_on(server_reader, writer, whole=True))
        for each in (writer, server_writer):
            with suppress(OSError):
                await each.wait_closed()

    with tempfile.TemporaryDirectory() as folder:
        through = make_url(url).update_query_dict({"host": folder})
        async with await asyncio.start_unix_server(accept, socket_of(through.render_as_string(hide_password=False))):
            yield through.render_as_string(hide_password=False), lambda: dropped
        await asyncio.wait(filter(None, connections))


def socket_of(url: str) -> str:
    """The Unix socket to which a URL leads."""
    parsed = make_url(url)
    folder = parsed.query["host"]
    assert isinstance(folder, str)
    return os.fspath(Path(folder) / f".s.PGSQL.{parsed.port or 5432}")
