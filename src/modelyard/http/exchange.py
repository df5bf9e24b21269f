"""One HTTP request and its answer on plain ASGI, for the paths where a framework would cost more than the work.

Owns reading the body within a limit, sending JSON or a stream, and noticing that the client has left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Self

from modelyard.errors import BodyTooLarge, UnsupportedMediaType
from modelyard.http.connections import HeldConnection, find_connection

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

Grow = Callable[[int], Awaitable[None]]
"""Waits until so many more bytes may be held in memory. Raises what keeps them from it."""

UNCOUNTED_BYTES = 64 * 1024
"""A body up to this size is not asked leave for: the server that reads from the socket holds as much anyway.
Source: uvicorn's high-water mark."""
GROWTH_BYTES = 1024 * 1024
"""In what steps leave is asked for where nobody says how long it will be."""

PIECE_BYTES = 256 * 1024
"""Of a whole answer, how much is given to the connection at a time: what a client does not read stays with us."""

JSON = "application/json; charset=utf-8"
"""The hosted service's JavaScript clients read an error's text only from a content type that is not exactly
`application/json`."""
UNENCODED = ("identity", "")
"""The encodings of a body that is sent as it is. What is compressed may be a thousand times as large as it says, and is
refused. Source: RFC 9110, 8.4."""
SAFE = {"x-content-type-options": "nosniff"}
"""Headers of an answer that holds what a model or a client made: a browser must not take it for a page."""


class ClientLeft(Exception):
    """The client closed the connection before its answer."""


class HttpExchange:
    """Reads one request and sends one answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._connection = find_connection(scope)
        self._receive = receive
        self._send = send
        self.started = False
        self.streaming = False
        """Whether a stream has begun and not ended."""
        self.grow: Grow = count_nothing
        """Asked before a large body is read, and may make its sender wait."""
        self.sending_since: float | None = None
        """When the client was offered what it has not taken yet, in monotonic seconds."""
        self._guard: LeavingGuard | None = None
        self._headers: Mapping[bytes, bytes] | None = None

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name."""
        if self._headers is None:  # of those that come twice, the first counts
            self._headers = dict(reversed(self._scope["headers"]))
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def trust(self) -> None:
        """The client has shown a valid key: when connections are many, its own is not closed."""
        if self._connection is not None:
            self._connection.trust()

    @property
    def client_address(self) -> str | None:
        """Where the request came from; behind a trusted proxy, what that says."""
        client = self._scope.get("client")
        return None if client is None else str(client[0])

    @property
    def query(self) -> str:
        """The query string, as sent."""
        return bytes(self._scope.get("query_string", b"")).decode("latin-1")

    @property
    def base_url(self) -> str:
        """The scheme and host that the request came to."""
        host = self.header(b"host") or "localhost"
        return f"{self._scope.get('scheme', 'http')}://{host}"

    async def body(self, limit_bytes: int) -> bytes | bytearray:
        """The whole body. Raises BodyTooLarge, UnsupportedMediaType for one that is compressed, ClientLeft, and what
        `grow` raises."""
        self._check_encoding()
        if self._connection is not None and (here := self._connection.take_body(UNCOUNTED_BYTES)) is not None:
            if len(here) > limit_bytes:
                raise too_large(len(here), limit_bytes)
            return here
        growth = await self._begin(limit_bytes)
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            whole = bytes(message.get("body", b""))
            if len(whole) > limit_bytes:
                raise too_large(len(whole), limit_bytes)
            return whole
        data = bytearray()  # grows in place: joining 40 MB of pieces would hold up everyone for 20 ms
        async for piece in self._pieces(message, limit_bytes, growth):
            data += piece
        return data

    async def pieces(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """The body, piece by piece. Raises what `body` does."""
        self._check_encoding()
        growth = await self._begin(limit_bytes)
        async for piece in self._pieces(await self._receive(), limit_bytes, growth):
            yield piece

    def _check_encoding(self) -> None:
        encoding = self.header(b"content-encoding")
        if encoding is not None and encoding.strip().lower() not in UNENCODED:
            accepted = "none: send the body as it is"
            raise UnsupportedMediaType(field="content-encoding", got=encoding, accepted=accepted)

    async def _pieces(self, message: Message, limit_bytes: int, growth: Growth) -> AsyncIterator[bytes]:
        size = 0
        while message["type"] == "http.request":
            piece = bytes(message.get("body", b""))
            size += len(piece)
            if size > limit_bytes:
                raise too_large(size, limit_bytes)
            if size > growth.granted_bytes:
                await growth.reach(size)
            yield piece
            if not message.get("more_body"):
                return
            message = await self._receive()
        raise ClientLeft

    async def _begin(self, limit_bytes: int) -> Growth:
        """What may be read before more leave is asked for: all, where the header tells how much that is.

        Raises BodyTooLarge before a byte is read, and what `grow` raises.
        """
        growth = Growth(self.grow, UNCOUNTED_BYTES)
        length = self.header(b"content-length")
        if length is not None and length.isdigit():
            if int(length) > limit_bytes:
                raise too_large(int(length), limit_bytes)
            if int(length) > UNCOUNTED_BYTES:
                await growth.expect(int(length))
        return growth

    async def send_bytes(self, content_type: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Sends a whole answer of any type."""
        await self._answer(200, {"content-type": content_type, **SAFE, **headers}, payload)

    async def send_json(self, status: int, payload: bytes, headers: Mapping[str, str]) -> None:
        """Sends a whole JSON answer."""
        await self._answer(status, {"content-type": JSON, **headers}, payload)

    async def start_stream(self, content_type: str, headers: Mapping[str, str]) -> None:
        """Begins an answer of unknown length. Not ending it breaks the connection, so that no client mistakes a
        failure for the end."""
        await self._start(200, {"content-type": content_type, "cache-control": "no-cache", **headers})
        self.streaming = True

    async def send_chunk(self, data: bytes) -> None:
        """Sends a piece of a stream."""
        await self._write({"type": "http.response.body", "body": data, "more_body": True})

    async def end_stream(self) -> None:
        """Ends a stream cleanly."""
        self.streaming = False
        await self._write({"type": "http.response.body", "body": b""})

    def until_client_leaves(self) -> LeavingGuard:
        """A context whose body is cancelled, and which raises ClientLeft, when the client closes the connection."""
        self._guard = LeavingGuard(self._receive, self._connection)
        return self._guard

    def give_up(self) -> None:
        """Treats the client as if it had left, where that would be noticed."""
        if self._guard is not None:
            self._guard.leave()

    async def _write(self, message: Message) -> None:
        self.sending_since = time.monotonic()
        await self._send(message)
        self.sending_since = None

    async def _answer(self, status: int, headers: dict[str, str], payload: bytes) -> None:
        """A whole answer, a large one in pieces: each waits until the client has taken those before."""
        if self.started:
            raise RuntimeError("an answer has begun already")  # on this connection the next may be another request's
        headers["content-length"] = str(len(payload))
        if self._connection is not None and len(payload) <= PIECE_BYTES:
            self.started = True
            self.sending_since = time.monotonic()
            await self._connection.answer(status, headers, payload)
            self.sending_since = None
        else:
            await self._start(status, headers)
            await self._write_pieces(payload)

    async def _write_pieces(self, payload: bytes) -> None:
        if len(payload) > PIECE_BYTES:
            view = memoryview(payload)
            for start in range(0, len(payload), PIECE_BYTES):
                piece = bytes(view[start : start + PIECE_BYTES])
                await self._write({"type": "http.response.body", "body": piece, "more_body": True})
            payload = b""
        await self._write({"type": "http.response.body", "body": payload})

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._write({"type": "http.response.start", "status": status, "headers": raw})


async def count_nothing(more_bytes: int) -> None:
    """Gives leave to hold anything."""


class Growth:
    """Leave to hold what arrives, asked for in steps. `granted_bytes`: how far it goes."""

    __slots__ = ("_grow", "granted_bytes")

    def __init__(self, grow: Grow, granted_bytes: int) -> None:
        self._grow = grow
        self.granted_bytes = granted_bytes

    async def expect(self, size: int) -> None:
        """Asks leave for the whole of something that says how large it is."""
        await self._grow(size)
        self.granted_bytes = size

    async def reach(self, size: int) -> None:
        """Asks leave until it goes as far as `size`."""
        step = max(GROWTH_BYTES, size - self.granted_bytes)
        await self._grow(step)
        self.granted_bytes += step


class LeavingGuard:
    """See `HttpExchange.until_client_leaves`. Enter it only after the body has been read.

    A connection of our own tells by itself when its client has left; of another one that has to be waited for, in a
    task for each request, which costs more than all other checks of a request together.
    """

    def __init__(self, receive: Receive, connection: HeldConnection | None) -> None:
        self._receive = receive
        self._connection = connection
        self._left = False
        self._worker: asyncio.Task[Any] | None = None
        self._waiting: asyncio.Future[Message] | None = None

    def __enter__(self) -> Self:
        self._worker = asyncio.current_task()
        if self._connection is not None:
            self._connection.watch(self.leave)
        else:
            self._waiting = asyncio.ensure_future(self._receive())
            self._waiting.add_done_callback(self._on_message)
        return self

    def _on_message(self, waiting: asyncio.Future[Message]) -> None:
        if not waiting.cancelled() and waiting.exception() is None:
            self.leave()

    def leave(self) -> None:
        """Ends the context as when the client leaves; nothing once it has ended."""
        if self._worker is not None and not self._left:
            self._left = True
            self._worker.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.watch(None)
        if self._waiting is not None:
            self._waiting.remove_done_callback(self._on_message)
            self._waiting.cancel()
        worker, self._worker = self._worker, None
        if self._left and worker is not None:
            worker.uncancel()
            if isinstance(error, asyncio.CancelledError):
                raise ClientLeft from None


def too_large(size: int, limit_bytes: int) -> BodyTooLarge:
    """The error for a body over the limit."""
    return BodyTooLarge(field="body", got=f"{size} bytes", accepted=f"at most {limit_bytes} bytes", cause="request")
