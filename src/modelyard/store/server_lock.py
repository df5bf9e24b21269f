"""The right to be the one server of a database. Two would end each other's workers, and each would bill.

Owns the lock and who is said to hold it. It ends with the process, however that ends: a lock of the kernel beside an
SQLite file, a lock of the session on PostgreSQL. Commands that read or change the database need none.
"""

from __future__ import annotations

import fcntl
import os
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError

from modelyard.errors import DatabaseTaken, ModelyardError
from modelyard.private_files import FILE_MODE
from modelyard.store import problems
from modelyard.store.connect import build_engine, describe, parse_url

RELEASE_S = 2.0
"""How long PostgreSQL may take to see that a server which was killed is gone; it takes milliseconds on one machine."""
RETRY_S = 0.05
_LOCK = 1_740_511_803  # any fixed number, shared by all Modelyard programs on one PostgreSQL database

# A server whose machine vanished is given up after some 25 s: without this, after hours.
_SETTINGS = (
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
)
_TAKE = text("SELECT pg_try_advisory_lock(:lock, hashtext(current_schema()))")
_TAKE_SHARED = text("SELECT pg_try_advisory_lock_shared(:lock, hashtext(current_schema()))")
_FIND_HOLDER = text(
    "SELECT a.application_name, a.client_addr FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.classid = :lock AND l.granted"
    " AND l.objid = (hashtext(current_schema())::bigint & 4294967295)::oid"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class ServerLock(ABC):
    """One database's lock. Every method blocks."""

    @abstractmethod
    def take(self) -> None:
        """Takes the lock. Raises DatabaseTaken when another server has it, Unavailable when nobody can say."""

    @abstractmethod
    def confirm(self) -> None:
        """Returns while it is held, having taken it anew if the connection had broken. Raises as `take` does."""

    @abstractmethod
    def close(self) -> None:
        """Gives it back. Idempotent."""


def open_server_lock(url: str, holder: str, *, is_shared: bool = False) -> ServerLock:
    """The lock of a database, not taken. `holder`: this server, as another one is to name it. `is_shared`: others that
    say the same may have it too; on PostgreSQL."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return FileLock(Path(f"{parsed.database}.lock"), str(parsed.database), holder)
    return SessionLock(build_engine(parsed, RELEASE_S), describe(parsed), holder, is_shared=is_shared)


class FileLock(ServerLock):
    """A lock that the kernel drops with the process, on a file beside the database's."""

    def __init__(self, path: Path, where: str, holder: str) -> None:
        self._path = path
        self._where = where
        self._holder = holder
        self._descriptor = -1

    def take(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            raise taken(self._where, holder) from None
        with suppress(OSError):  # a full disk: nobody's name is no reason not to serve
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{self._holder}\n".encode())
        self._descriptor = descriptor

    def confirm(self) -> None:
        return

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class SessionLock(ServerLock):
    """A lock that PostgreSQL drops with the connection."""

    def __init__(self, engine: Engine, where: str, holder: str, *, is_shared: bool) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._take_it = _TAKE_SHARED if is_shared else _TAKE
        self._where = where
        self._holder = holder
        self._connection: Connection | None = None

    def take(self) -> None:
        try:
            self._take()
        except DBAPIError as error:
            self.close()
            raise self._translate(error) from error
        except BaseException:
            self.close()
            raise

    def confirm(self) -> None:
        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
            except DBAPIError:
                self.close()
            else:
                return
        self.take()

    def close(self) -> None:
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.invalidate()  # the session ends, and its lock with it
                self._connection.close()
            self._connection = None
        self._engine.dispose()

    def _take(self) -> None:
        connection = self._connection = self._engine.connect()
        for statement in _SETTINGS:
            connection.exec_driver_sql(statement)
        connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": self._holder})
        give_up_at = time.monotonic() + RELEASE_S
        while not connection.execute(self._take_it, {"lock": _LOCK}).scalar_one():
            if time.monotonic() > give_up_at:
                raise taken(self._where, name_of(connection.execute(_FIND_HOLDER, {"lock": _LOCK}).first()))
            time.sleep(RETRY_S)

    def _translate(self, error: DBAPIError) -> ModelyardError | DBAPIError:
        return problems.from_postgresql(error, self._where, RELEASE_S) or error


def name_of(row: Row[tuple[object, ...]] | None) -> str:
    """Who holds the lock: what it calls itself, and where it comes from."""
    if row is None:
        return ""
    return f"{row.application_name} at {row.client_addr}" if row.client_addr else str(row.application_name)


def taken(where: str, holder: str) -> DatabaseTaken:
    """The error of a second server; `holder`: the first, as far as it is known."""
    named = f" ({holder})" if holder else ""
    return DatabaseTaken(f"Another modelyard server{named} uses the database {where}.", where=where, holder=holder)
