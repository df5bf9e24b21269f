"""One connection of a client: uvicorn's protocol with bounds on what a request may bring and how long it may take.

Owns the limits of headers, trailers and pipelined requests, the phases that deadlines are told by, and answers that are
sent whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from modelyard.http.connections import SCOPE_KEY, Connections, HeldConnection
from modelyard.http.unchunked import unchunked

MAX_HEADER_BYTES = 64 * 1024
"""Of a request's line, headers and trailers together. Source: the default of h11, uvicorn's other parser."""
MAX_HEADERS = 100
"""Source: Apache's default, LimitRequestFields."""
MAX_PIPELINED = 64
"""Requests of one connection that may wait for the answer before them."""
BODY_GRACE_S = 30.0
"""For so long a body may pause, or be slower than it must be on average."""
UNREAD_BODY_S = 10.0
"""How long a client may go on sending a body that was answered without being read."""
REFUSED_S = 2.0
REFUSED_BYTES = 1024 * 1024
"""What is still taken from a client that was refused: closing at once would lose the answer on its way."""
FRAMING = (b"content-length", b"transfer-encoding")
"""The headers that say where a body ends."""
NO_BODY = (b"content-length", b"0")

TOO_LARGE = (
    f"The request's header is too large: at most {MAX_HEADERS} fields and {MAX_HEADER_BYTES} bytes are accepted."
)
INVALID = "This is not a valid HTTP/1.1 request."
TOO_MANY = f"Too many requests wait on this connection for an answer: at most {MAX_PIPELINED} are accepted."


class Phase(Enum):
    """What a connection waits for."""

    IDLE = 1
    HEADER = 2
    BODY = 3
    ANSWER = 4


class Refusal(Exception):
    """Why a request is not read any further."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Connection(HttpToolsProtocol, HeldConnection):
    """See the module. uvicorn makes one for every connection it accepts."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._all = connections
        self._limits = connections.limits
        self._trusted = False
        self._discards = False
        self._discarded_bytes = 0
        self._refusal: Refusal | None = None
        self._answering: RequestResponseCycle | None = None
        """The request that is being answered; `cycle` is the one that came last, which may wait behind it."""
        self._on_left: Callable[[], None] | None = None
        self._phase = Phase.IDLE
        self._deadline_at = 0.0
        """Of the phases IDLE and HEADER."""
        self._body_since = 0.0
        self._body_bytes = 0
        self._looked_at = 0.0
        self._unread_since: float | None = None
        self._message_complete = True
        self._header_bytes = 0
        self._idle_bytes = 0
        """Bytes received that were neither the end of a header nor a piece of a body."""
        self._moved = False
        self._knows_header = False
        """Whether the parser is told again the header of a request whose body it is to read."""

    def trust(self) -> None:
        if not self._trusted:
            self._trusted = True
            self._all.trust(self)

    def watch(self, on_left: Callable[[], None] | None) -> None:
        self._on_left = on_left
        if on_left is None:
            return
        if self._answering is None or self._answering.disconnected:
            self.loop.call_soon(self._tell_left)
        else:
            self.flow.resume_reading()  # the end of a connection is only seen by who reads

    def _tell_left(self) -> None:
        if self._on_left is not None:
            self._on_left()

    def take_body(self, most_bytes: int) -> bytes | None:
        cycle = self._answering
        if cycle is None or cycle.more_body or cycle.disconnected or len(cycle.body) > most_bytes:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        return body

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """As uvicorn's cycle does it in two writes, each of which costs as much as making the answer."""
        head = head_of(status, self._all.encode_usual(self.server_state.default_headers), headers)
        if self.flow.write_paused:
            await self.flow.drain()
        cycle = self._answering
        if cycle is None or cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((head, end, b"" if cycle.scope["method"] == "HEAD" else body)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def is_overdue(self, now: float) -> bool:
        since_last_look, self._looked_at = now - self._looked_at, now
        if self._is_unread(now):
            return True
        if self._phase is Phase.BODY:
            if self.flow.read_paused:
                self._body_since += since_last_look
                return False
            took_s = now - self._body_since
            earned_s = BODY_GRACE_S + self._body_bytes / max(1, self._limits.body_bytes_per_s)
            return took_s > min(earned_s, self._limits.body_s)
        if self._phase is Phase.ANSWER or self._is_answering():
            return False
        return now > self._deadline_at

    def _is_unread(self, now: float) -> bool:
        """Whether a client without a key has left its answer unread for as long as its header might have taken."""
        if self._trusted or not self.flow.write_paused:
            self._unread_since = None
            return False
        self._unread_since = self._unread_since or now
        return now - self._unread_since > self._limits.header_s

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def end(self) -> None:
        self.transport.abort()

    # --- what asyncio and the parser call ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._looked_at = self.loop.time()
        self._deadline_at = self._looked_at + self._limits.header_s
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
            self._tell_left()
        super().connection_lost(exc)
        # Requests hold this connection, too: the two would be there until a collection finds them.
        self.pipeline.clear()
        self.scope = self.cycle = None  # type: ignore[assignment]
        self._answering = None

    def data_received(self, data: bytes) -> None:
        if self._discards:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > REFUSED_BYTES:
                self.transport.abort()
            return
        if self._phase is Phase.IDLE and self._message_complete:
            self._begin_header()
        self._moved = False
        rest = data
        try:
            while rest:
                rest = self._parse(rest)
        except httptools.HttpParserError:
            self._refuse(self._refusal or Refusal(400, INVALID))
            return
        self._idle_bytes = 0 if self._moved else self._idle_bytes + len(data)
        if self._idle_bytes > MAX_HEADER_BYTES:
            self._refuse(Refusal(431, TOO_LARGE))

    def _parse(self, data: bytes) -> bytes:
        """Has the parser read what has come; what it leaves of it.

        Clients may offer another protocol with a request, as Java's do with each: none is spoken here but HTTP/1.1, so
        the offer means nothing, but the parser leaves what follows the header to it.
        """
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            (read,) = offer.args
            if self.scope["method"] == "CONNECT":
                self._discards = True
                self.cycle.keep_alive = False
                return b""
            if framing := self._framing():
                self._read_body(framing)
            return data[read:]
        return b""

    def _framing(self) -> list[tuple[bytes, bytes]]:
        """The headers that say where the body of the request ends; none where it has none."""
        return [each for each in self.headers if each[0] in FRAMING and each != NO_BODY]

    def _read_body(self, framing: list[tuple[bytes, bytes]]) -> None:
        """Goes on with a parser that takes what follows for the body of the request, whose header is known."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self._knows_header = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join([b"%b: %b\r\n" % each for each in framing]))
        self._knows_header = False

    def on_message_begin(self) -> None:
        if self._knows_header:
            return
        super().on_message_begin()
        self.scope[SCOPE_KEY] = self  # type: ignore[literal-required]
        self._header_bytes = 0
        if self._phase is not Phase.HEADER:
            self._begin_header()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        if cycle.scope["http_version"] != "1.1":
            app = unchunked(app, cycle)
        super()._start_asgi_task(cycle, app)

    def on_url(self, url: bytes) -> None:
        if self._knows_header:
            return
        self._header_bytes += len(url)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._stop(Refusal(431, TOO_LARGE))
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._knows_header:
            return
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES or len(self.headers) >= MAX_HEADERS:
            self._stop(Refusal(431, TOO_LARGE))
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._knows_header:
            return
        self._moved = True
        self._message_complete = False
        self._phase = Phase.BODY
        self._body_since = self.loop.time()
        self._body_bytes = 0
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self._stop(Refusal(400, TOO_MANY))

    def on_body(self, body: bytes) -> None:
        self._moved = True
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade() and self._framing():
            return  # the parser has left its body
        self._moved = True
        self._message_complete = True
        if self._phase is Phase.BODY:
            self._phase = Phase.ANSWER
        elif self._phase is Phase.IDLE:
            self._deadline_at = self.loop.time() + self._limits.keep_alive_s
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As in uvicorn, without a timer for each answer: `Connections` looks at all of them."""
        self.server_state.total_requests += 1
        now = self.loop.time()
        if self._phase is Phase.HEADER:
            self._deadline_at = now + self._limits.header_s
        elif not self.pipeline:
            self._phase = Phase.IDLE
            self._deadline_at = now + (self._limits.keep_alive_s if self._message_complete else UNREAD_BODY_S)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    # --- what is refused ---

    def _begin_header(self) -> None:
        self._phase = Phase.HEADER
        self._deadline_at = self.loop.time() + self._limits.header_s

    def _stop(self, refusal: Refusal) -> None:
        """Makes the parser give up."""
        self._refusal = refusal
        raise refusal

    def _refuse(self, refusal: Refusal) -> None:
        """Answers a request that was not read to its end, unless an answer has begun, and closes the connection."""
        self._discards = True
        self._phase = Phase.IDLE
        self._deadline_at = self.loop.time() + REFUSED_S
        self.pipeline.clear()
        answering = self._answering
        if answering is not None and not answering.response_complete:
            began = answering.response_started
            answering.disconnected = answering.response_complete = True
            answering.waiting_for_100_continue = False
            answering.message_event.set()
            self._tell_left()
            if began:
                self.transport.abort()
                return
        body = msgspec.json.encode({"error": refusal.message, "output": None})
        header = (
            f"content-type: application/json; charset=utf-8\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[refusal.status] + header.encode("ascii") + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()


def head_of(status: int, usual: bytes, headers: Mapping[str, str]) -> bytes:
    """An answer's head but for the empty line at its end. Raises ValueError when it would not be one."""
    if not "".join(headers.values()).isprintable():
        raise ValueError(f"not to be sent in a header: {dict(headers)!r}")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return STATUS_LINE[status] + usual + lines.encode("latin-1")
