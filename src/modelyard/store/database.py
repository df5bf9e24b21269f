"""One open database: transactions to read and to write in, and its errors as ours.

Owns the engine, which transaction a thread is in and, on SQLite, the turn to write. Knows no table. Any thread may use
it; no event loop should.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from modelyard.errors import StoreUnavailable
from modelyard.private_files import ensure_private_file
from modelyard.store import problems
from modelyard.store.connect import SQLITE_BEGIN, build_engine, describe, parse_url
from modelyard.store.data_version import DataVersion

if TYPE_CHECKING:
    from modelyard.store.notices import Notices

P = ParamSpec("P")
T = TypeVar("T")

LOCK_TIMEOUT_S = 10.0
ATTEMPTS = 3
"""Of a transaction that the database undoes each time; each takes as long as it may stand still."""


class Database:
    """An engine with the two ways to use it: `read` for single statements, `write` for one transaction."""

    def __init__(self, url: str, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        """Connects to nothing yet. Raises InvalidRequest for a URL it cannot use."""
        parsed = parse_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.where = describe(parsed)
        self._lock_timeout_s = lock_timeout_s
        self._engine = build_engine(parsed, lock_timeout_s)
        self._reader: Engine = self._engine
        self._writer: Engine = self._engine
        self._changes: DataVersion | Notices | None = None
        if self.is_sqlite:
            if file := self._make_file(parsed):
                self._changes = DataVersion(file)
            # IMMEDIATE: a transaction that begins by reading and asks to write later is refused at once when
            # another wrote in between, whatever the timeout; one that asks at its start waits its turn.
            self._writer = self._engine.execution_options(**{SQLITE_BEGIN: "BEGIN IMMEDIATE"})
        else:
            from modelyard.store.notices import Notices  # which imports PostgreSQL's driver

            self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")
            self._changes = Notices(self._reader)
        # SQLite's own wait polls with growing sleeps; threads of one process hand the turn over directly instead.
        self._turn = threading.Lock()
        self._thread = threading.local()
        self._check: Callable[[Connection], None] | None = None
        self._closed = threading.Event()

    def checked(self, check: Callable[[Connection], None]) -> Database:
        """The same database, whose transactions begin with a check that undoes them when it raises. Closed with it."""
        other = copy(self)
        other._check = check
        return other

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with, each statement by itself; inside of `write`, that transaction. Raises Unavailable
        when the database cannot answer."""
        if (joined := self._under_way()) is not None:
            yield joined
            return
        with self._errors_as_ours(), self._open(self._reader).connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed when the block ends, undone when it raises. Raises as `read` does.

        Inside of another one on the same thread it is a part of that: what belongs together is written together.
        """
        if (joined := self._under_way()) is not None:
            yield joined
            return
        with self._errors_as_ours(), self._my_turn(), self._open(self._writer).begin() as connection:
            self._thread.transaction = connection
            try:
                if self._check is not None:
                    self._check(connection)
                yield connection
            except DBAPIError as error:
                if problems.broke_off(error):  # before the commit
                    raise problems.broken(self.where) from error
                raise
            finally:
                self._thread.transaction = None

    def _under_way(self) -> Connection | None:
        """The transaction that this thread is in."""
        under_way: Connection | None = getattr(self._thread, "transaction", None)
        return under_way

    def may_have_changed(self) -> bool:
        """Whether anything may have been committed since the last call, by whichever process. Quick, and waits for
        nobody: an event loop may ask, one thread at a time. True where only a query would tell."""
        return self._closed.is_set() or self._changes is None or self._changes.has_changed()

    def close(self) -> None:
        """Closes every connection; a later `read` or `write` raises Unavailable. Idempotent."""
        self._closed.set()
        if self._changes is not None:
            self._changes.close()
        self._engine.dispose()

    @staticmethod
    def _make_file(url: URL) -> Path | None:
        """For this user alone; SQLite gives the files it makes beside it the same mode. None: SQLite's own kind of URL
        says where it is."""
        if not url.database or url.database.startswith("file:"):
            return None
        with suppress(OSError):  # SQLite says it better, when it opens the file
            ensure_private_file(Path(url.database))
        return Path(url.database)

    def _open(self, engine: Engine) -> Engine:
        if self._closed.is_set():  # SQLAlchemy would quietly connect anew
            raise problems.closed()
        return engine

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(timeout=self._lock_timeout_s):
            raise problems.locked(self.where, self._lock_timeout_s)
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise problems.busy(self.where) from error
        except DBAPIError as error:
            translate = problems.from_sqlite if self.is_sqlite else problems.from_postgresql
            ours = translate(error, self.where, self._lock_timeout_s)
            if ours is None:
                raise
            if ours.data.get("cause") == "read-only":
                self._engine.dispose()  # where another server has taken over, it is found by connecting anew
            raise ours from error


def begun_anew(transaction: Callable[P, T]) -> Callable[P, T]:
    """For a method that is one transaction. PostgreSQL ends one that stands still, as it does where a busy machine
    gives this thread no turn in the middle, and the connection may break before that is read: nothing of it was done,
    so it begins anew. After `ATTEMPTS` in vain it raises StoreUnavailable."""

    @wraps(transaction)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return transaction(*args, **kwargs)
            except StoreUnavailable as error:
                if not problems.was_undone(error):
                    raise
        return transaction(*args, **kwargs)

    return attempt


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say ON CONFLICT: both databases write it alike, SQLAlchemy has one class for each."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
