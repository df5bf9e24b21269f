"""What a server under chaos keeps its books in, and how it is disturbed: an SQLite file, or a PostgreSQL server."""

from __future__ import annotations

import signal
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Row, Select

from modelyard.store.connect import build_engine, parse_url
from tests.store.postgresql import create_schema, run_postgresql, url_of_schema

LOCK_TIMEOUT_S = 30.0


class Database(ABC):
    """One server's database."""

    url: str

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Within it, nobody else can write."""

    def frozen(self) -> AbstractContextManager[bool]:
        """Within it, its processes stand still; gives whether it has any."""
        return freeze(self._processes())

    def restart(self) -> bool:
        """Has its server cut off everybody, end, and begin again from its log; whether it has a server."""
        return False

    def files(self) -> list[str]:
        """Those that may be made read-only while it is used."""
        return []

    def _processes(self) -> list[psutil.Process]:
        return []

    def read(self, query: Select[Any]) -> list[Row[Any]]:
        """The rows of a query."""
        engine = build_engine(parse_url(self.url), LOCK_TIMEOUT_S)
        try:
            with engine.connect() as connection:
                return list(connection.execute(query))
        finally:
            engine.dispose()


class SqliteDatabase(Database):
    """A file in the server's data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "modelyard.db"
        self.url = f"sqlite:///{self._path}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        connection = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")
        finally:
            connection.close()

    def files(self) -> list[str]:
        """All but the index, which is mapped: there the kernel refuses no call, it ends the process (decision 26)."""
        found = self._path.parent.glob(f"{self._path.name}*")
        return [str(path) for path in found if not path.name.endswith("-shm")]


class PostgresqlDatabase(Database):
    """A schema in a server of its own."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url = url_of_schema(server.get_uri(), create_schema(server.get_uri()))

    @contextmanager
    def locked(self) -> Iterator[None]:
        import psycopg

        with psycopg.connect(self.url) as connection:
            connection.execute("LOCK TABLE instances, requests, events, clusters IN ACCESS EXCLUSIVE MODE")
            yield
            connection.rollback()

    def restart(self) -> bool:
        """As after a crash: SIGQUIT ends PostgreSQL at once, its next start recovers."""
        (postmaster, *_) = self._processes()
        postmaster.send_signal(signal.SIGQUIT)
        postmaster.wait(60)
        self._server.ensure_postgres_running()
        return True

    def _processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(self._server.get_pid())
        return [postmaster, *postmaster.children(recursive=True)]


@contextmanager
def freeze(processes: list[psutil.Process]) -> Iterator[bool]:
    """Stops processes as long as the block runs; gives whether there were any."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
    try:
        yield bool(processes)
    finally:
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.resume()


@contextmanager
def open_database(kind: str, data_dir: Path) -> Iterator[Database]:
    """`kind`: one of KINDS."""
    if kind == "sqlite":
        yield SqliteDatabase(data_dir)
        return
    with run_postgresql() as server:
        yield PostgresqlDatabase(server)


KINDS = ("sqlite", "postgresql")
