"""From a database URL to a configured SQLAlchemy engine. Owns what each database must be told on connecting."""

from __future__ import annotations

import json
import sqlite3
import time
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from modelyard.errors import InvalidRequest, Unavailable
from modelyard.store import problems

ACCEPTED = "sqlite:///PATH (a file) or postgresql://USER:PASSWORD@HOST/DATABASE"
CONNECT_TIMEOUT_S = 10
UNANSWERED_TIMEOUT_MS = 15_000
LEAST_STILL_MS = 1000
"""A transaction may stand still for so long, however impatient its process is: a busy machine gives it no turn."""
POOL_SIZE = 5
POOL_OVERFLOW = 27  # with POOL_SIZE, one for every thread of asyncio's default executor (at most 32)

# The execution option by which `Database` says how a SQLite transaction begins; without it, none is begun.
SQLITE_BEGIN = "modelyard_sqlite_begin"

# NaN and infinity are not JSON: PostgreSQL refuses them, so they are refused before either database sees them.
_dump_json = partial(json.dumps, allow_nan=False, separators=(",", ":"))


def parse_url(url: str) -> URL:
    """`url` with the driver we use filled in. Raises InvalidRequest, never repeating a password, when it is no use."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise InvalidRequest(field="database_url", got="text that is not a URL", accepted=ACCEPTED) from error
    match parsed.drivername:
        # In-memory SQLite is one database per connection, so threads would not see each other's rows.
        case "sqlite" | "sqlite+pysqlite" if parsed.database not in (None, "", ":memory:"):
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
    raise InvalidRequest(field="database_url", got=describe(parsed), accepted=ACCEPTED)


def describe(url: URL) -> str:
    """What to call the database before people: its file, or the server's URL without any password."""
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    shown = url.set(drivername=url.get_backend_name()).difference_update_query(["password", "sslpassword"])
    return shown.render_as_string(hide_password=True)


def build_engine(url: URL, lock_timeout_s: float) -> Engine:
    """An engine for `url`, as `parse_url` returned it; connects to nothing yet.

    `lock_timeout_s`: how long one statement waits for another writer before it gives up; on PostgreSQL also how long a
    transaction may stand still.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, lock_timeout_s)
    return _postgresql_engine(url, lock_timeout_s)


def _sqlite_engine(url: URL, lock_timeout_s: float) -> Engine:
    if sqlite3.sqlite_version_info < (3, 35):  # RETURNING
        raise Unavailable(
            f"SQLite {sqlite3.sqlite_version} is too old; Modelyard needs 3.35 or newer.", cause="old SQLite"
        )
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        json_serializer=_dump_json,
        connect_args={"timeout": lock_timeout_s},  # busy_timeout, in force before the first pragma
    )

    # Python's driver opens transactions by its own rules (not before SELECT or DDL, never IMMEDIATE).
    # isolation_level None turns those off; the `begin` hook then says how each transaction starts.
    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        _use_write_ahead_log(connection, lock_timeout_s)
        # NORMAL: a commit survives the death of any process, kill -9 included, since the operating system holds it.
        # A power cut may lose the commits since the last checkpoint (the newest; the file stays sound, nothing is
        # half done). FULL would close that gap for one disk flush, milliseconds, in every commit.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if statement := connection.get_execution_options().get(SQLITE_BEGIN):
            connection.exec_driver_sql(statement)

    return engine


def _use_write_ahead_log(connection: sqlite3.Connection, patience_s: float) -> None:
    """Lets readers and the one writer work at the same time. The mode is kept in the file: the first to set it counts.

    When two processes make a new file at once, SQLite refuses one of them at once, without its busy timeout
    (measured: 1 open in 100); hence the loop.
    """
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(0.005)
        else:
            return


def _postgresql_engine(url: URL, lock_timeout_s: float) -> Engine:
    options = {
        "application_name": "modelyard",
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "tcp_user_timeout": str(UNANSWERED_TIMEOUT_MS),  # a server that vanished must not hang its callers
    }
    completed = url.update_query_dict({name: value for name, value in options.items() if name not in url.query})
    engine = create_engine(
        completed,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_pre_ping=True,  # the server may have been restarted since this connection was last used
        json_serializer=_dump_json,
    )

    @event.listens_for(engine, "connect", insert=True)  # SQLAlchemy's own asks for texts, which would be bytes
    def check_encoding(connection: Any, _record: Any) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise problems.not_utf8(describe(url), encoding)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        patience_ms = int(lock_timeout_s * 1000)
        connection.execute(f"SET lock_timeout = {patience_ms}")
        # One that is stopped in the middle of a transaction, or cut off, keeps its locks no longer than others wait.
        connection.execute(f"SET idle_in_transaction_session_timeout = {max(patience_ms, LEAST_STILL_MS)}")
        connection.autocommit = False

    return engine
