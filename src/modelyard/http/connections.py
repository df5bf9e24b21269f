"""All connections of one server: how many there may be, which of them goes first, and who has taken too long.

Owns the bound, the limits in time, and the one timer that looks at all of them. Reads and writes nothing itself.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often all connections are looked at."""
RESERVED_FILES = 512
"""Files of the process that are no connections: databases, logs, links to replicas, fetches."""
MOST_CONNECTIONS = 4096
FEWEST_CONNECTIONS = 16
SAY_AGAIN_S = 60.0
SCOPE_KEY = "modelyard.connection"
"""Where an ASGI scope has its connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What a connection may take before it is closed. `body_s`: a body in all, apart from the time for which the
    server itself does not read; `body_bytes_per_s`: how fast it must come on average."""

    most: int = MOST_CONNECTIONS
    header_s: float = 20.0
    body_s: float = 3600.0
    body_bytes_per_s: int = 1024
    keep_alive_s: float = 75.0


class HeldConnection(ABC):
    """What `Connections` knows of one connection, and what the exchange on it asks of it."""

    @abstractmethod
    def is_overdue(self, now: float) -> bool:
        """Whether it has taken longer than it may, by the loop's clock."""

    @abstractmethod
    def end(self) -> None:
        """Closes it at once, whatever is on its way."""

    @abstractmethod
    def trust(self) -> None:
        """The client has shown a valid key."""

    @abstractmethod
    def watch(self, on_left: Callable[[], None] | None) -> None:
        """Calls `on_left` soon after the client of the request that is being answered has left; None: no longer."""

    @abstractmethod
    def take_body(self, most_bytes: int) -> bytes | None:
        """The body of the request that is being answered, where all of it is here, in at most so many bytes; once."""

    @abstractmethod
    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Sends the whole answer of the request that is being answered, in one write. Raises ValueError for headers
        that cannot be sent."""


class Connections:
    """The open connections of one server."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: set[HeldConnection] = set()
        self._strangers: dict[HeldConnection, None] = {}
        """Those that have shown no valid key, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._said_at: float | None = None
        self._usual: Sequence[tuple[bytes, bytes]] = ()
        self._usual_encoded = b""

    def encode_usual(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """The headers of every answer, such as the date, as they are sent. uvicorn makes them anew every second."""
        if headers is not self._usual:
            self._usual, self._usual_encoded = headers, b"".join([b"%b: %b\r\n" % each for each in headers])
        return self._usual_encoded

    def add(self, connection: HeldConnection) -> None:
        """Counts a new connection. When there are too many the oldest that has shown no valid key is closed."""
        self._open.add(connection)
        self._strangers[connection] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        if len(self._open) > self.limits.most and self._strangers:
            oldest = next(iter(self._strangers))
            self.remove(oldest)
            oldest.end()
            self._say_full()

    def trust(self, connection: HeldConnection) -> None:
        """From now on others are closed rather than this one."""
        self._strangers.pop(connection, None)

    def remove(self, connection: HeldConnection) -> None:
        """Forgets a connection; one that was forgotten already stays so."""
        self._open.discard(connection)
        self._strangers.pop(connection, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [each for each in self._open if each.is_overdue(now)]:
            connection.end()
        self._timer = loop.call_later(LOOK_S, self._look) if self._open else None

    def _say_full(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._said_at is None or now - self._said_at > SAY_AGAIN_S:
            self._said_at = now
            log.warning(
                "all %d connections are in use: the oldest that have shown no valid key are closed", self.limits.most
            )


def find_connection(scope: MutableMapping[str, Any]) -> HeldConnection | None:
    """The connection of an ASGI scope; None where another server, or a test, has made it."""
    return scope.get(SCOPE_KEY)


def trust(scope: MutableMapping[str, Any]) -> None:
    """Says that the client of an ASGI scope has shown a valid key."""
    connection = find_connection(scope)
    if connection is not None:
        connection.trust()


def raise_open_files() -> int:
    """Lets the process open as many files as the system allows it; how many that is. Idempotent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def bound_connections(wanted: int, open_files: int) -> int:
    """How many connections there may be: `wanted` (0: the default), but no more than the process can open files for."""
    return max(FEWEST_CONNECTIONS, min(wanted or MOST_CONNECTIONS, open_files - RESERVED_FILES))
