"""What PostgreSQL tells of changes as they are committed, so that nobody has to ask again and again. Owns a connection
and a thread for that.

A notification is lost where this connection breaks, where another server takes over, and behind a pooler that gives
each transaction another connection. So it is tried out again and again whether they come; while they do not, anything
may have changed at any time.
"""

from __future__ import annotations

import logging
import secrets
import selectors
import socket
import threading
from time import monotonic
from typing import Any, cast

import psycopg
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from modelyard.store.counters import CHANNEL

log = logging.getLogger(__name__)

ASK_S = 1.0
"""How late a change is seen of which the notification was lost."""
TRY_S = 10.0
"""How often it is tried out whether notifications come."""
HEARD_S = 2.0
"""How long one may take."""
AGAIN_S = 5.0
"""How soon it is tried again after they did not come."""
CLOSED_S = 1.0
"""How long the thread is waited for at the end: it may be connecting."""


class Notices:
    """The changes in one schema."""

    def __init__(self, engine: Engine) -> None:
        """`engine`: commits each statement. Connects, on a thread of its own, when it is asked for the first time."""
        self._engine = engine
        self._thread: threading.Thread | None = None
        self._closing, self._closer = socket.socketpair()
        self._closed = threading.Event()
        self._come = self._has_warned = False
        self._changed = True
        self._asked_at = 0.0

    @property
    def come(self) -> bool:
        """Whether notifications come, as far as it was tried."""
        return self._come

    def has_changed(self) -> bool:
        """Whether anything may have been committed since the last call, by whichever process. Waits for nobody. One
        thread at a time."""
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._listen_forever, name="changes in PostgreSQL", daemon=True)
            self._thread.start()
        if self._come and not self._changed and monotonic() - self._asked_at < ASK_S:
            return False
        self._asked_at = monotonic()
        self._changed = False  # before anything is read: of what comes meanwhile is told once more
        return True

    def close(self) -> None:
        """Lets go of the database. Idempotent."""
        self._closed.set()
        self._closer.close()  # which wakes the thread
        if self._thread is None:
            self._closing.close()
        else:
            self._thread.join(CLOSED_S)

    # --- on the thread ---

    def _listen_forever(self) -> None:
        with self._closing:
            while not self._closed.is_set():
                try:
                    self._listen()
                except (SQLAlchemyError, psycopg.Error) as error:
                    why = str(error).strip().partition("\n")[0]
                else:
                    why = f"one was not there within {HEARD_S:g} s"
                finally:
                    self._come = False
                if not self._has_warned and not self._closed.is_set():
                    log.warning("PostgreSQL's notifications do not come, it is asked for changes instead: %s", why)
                    self._has_warned = True
                self._wait(AGAIN_S)

    def _listen(self) -> None:
        """Returns when it was tried in vain whether notifications come. Raises the driver's errors."""
        with self._engine.connect() as connection:
            connection.detach()  # it takes no place in the pool
            driver = cast("psycopg.Connection[Any]", connection.connection.dbapi_connection)
            schema = connection.execute(select(func.current_schema())).scalar_one()
            connection.execute(text(f"LISTEN {CHANNEL}"))
            while self._hears(driver, schema):
                if not self._come:
                    self._has_warned = False
                    self._changed = self._come = True  # what was committed before is still to be asked for
                self._receive(driver, schema, TRY_S)

    def _hears(self, driver: psycopg.Connection[Any], schema: str) -> bool:
        """Whether what another connection tells comes here."""
        token = secrets.token_hex(8)
        with self._engine.connect() as other:
            other.execute(select(func.pg_notify(CHANNEL, token)))
        return self._receive(driver, schema, HEARD_S, token)

    def _receive(self, driver: psycopg.Connection[Any], schema: str, for_s: float, token: str = "") -> bool:
        """Takes what comes, for so long or until the token does; whether that has come."""
        until = monotonic() + for_s
        while not self._closed.is_set() and (left_s := until - monotonic()) > 0:
            self._wait(left_s, driver)
            driver.pgconn.consume_input()
            while (notice := driver.pgconn.notifies()) is not None:
                told = notice.extra.decode()
                if told == schema:
                    self._changed = True
                elif told == token:
                    return True
        return False

    def _wait(self, for_s: float, driver: psycopg.Connection[Any] | None = None) -> None:
        """Returns when something has come, when this is closed, or after so long."""
        with selectors.DefaultSelector() as selector:
            for each in (self._closing, driver):
                if each is not None:
                    selector.register(each, selectors.EVENT_READ)
            selector.select(for_s)
