"""One HTTP request and its answer on plain ASGI, for the paths where a framework would cost more than the work.

Owns reading the body within a limit, sending JSON or a stream, and noticing that the client has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Self

from modelyard.errors import BodyTooLarge, UnsupportedMediaType
from modelyard.gateway.problem import JSON

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

READABLE = ("application/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream")
"""Content types whose body is read as JSON. Forms are what curl claims to send when nobody tells it otherwise."""


class ClientLeft(Exception):
    """The client closed the connection before its answer."""


class HttpExchange:
    """Reads one request and sends one answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.started = False

    def header(self, name: bytes) -> str | None:
        """A request header by its lower-case name."""
        for key, value in self._scope["headers"]:
            if key == name:
                return bytes(value).decode("latin-1")
        return None

    async def body(self, limit_bytes: int) -> bytes:
        """The whole body. Raises BodyTooLarge, UnsupportedMediaType, ClientLeft."""
        kind = (self.header(b"content-type") or READABLE[0]).partition(";")[0].strip().lower()
        if kind not in READABLE and not kind.endswith("+json"):
            raise UnsupportedMediaType(field="content-type", got=kind, accepted="application/json")
        length = self.header(b"content-length")
        if length is not None and length.isdigit() and int(length) > limit_bytes:
            raise too_large(int(length), limit_bytes)
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            data = message.get("body", b"")
            if len(data) > limit_bytes:
                raise too_large(len(data), limit_bytes)
            return bytes(data)
        parts, size = [], 0
        while message["type"] == "http.request":
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit_bytes:
                raise too_large(size, limit_bytes)
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self._receive()
        raise ClientLeft

    async def send_json(self, status: int, payload: bytes, headers: Mapping[str, str]) -> None:
        """Sends a whole JSON answer."""
        await self._start(status, {"content-type": JSON, "content-length": str(len(payload)), **headers})
        await self._send({"type": "http.response.body", "body": payload})

    async def start_stream(self, content_type: str, headers: Mapping[str, str]) -> None:
        """Begins an answer of unknown length. Not ending it breaks the connection, so that no client mistakes a
        failure for the end."""
        await self._start(200, {"content-type": content_type, "cache-control": "no-cache", **headers})

    async def send_chunk(self, data: bytes) -> None:
        """Sends a piece of a stream."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_stream(self) -> None:
        """Ends a stream cleanly."""
        await self._send({"type": "http.response.body", "body": b""})

    def until_client_leaves(self) -> LeavingGuard:
        """A context whose body is cancelled, and which raises ClientLeft, when the client closes the connection."""
        return LeavingGuard(self._receive)

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})


class LeavingGuard:
    """See `HttpExchange.until_client_leaves`. Enter it only after the body has been read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False

    async def __aenter__(self) -> Self:
        self._worker = asyncio.current_task()
        self._watch: asyncio.Future[MutableMapping[str, Any]] = asyncio.ensure_future(self._receive())
        self._watch.add_done_callback(self._on_message)
        return self

    def _on_message(self, watch: asyncio.Future[MutableMapping[str, Any]]) -> None:
        if not watch.cancelled() and watch.exception() is None and self._worker is not None:
            self._left = True
            self._worker.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.remove_done_callback(self._on_message)
        self._watch.cancel()
        if self._left and self._worker is not None:
            self._worker.uncancel()
            if isinstance(error, asyncio.CancelledError):
                raise ClientLeft from None


def too_large(size: int, limit_bytes: int) -> BodyTooLarge:
    """The error for a body over the limit."""
    return BodyTooLarge(
        field="body", got=f"{size} bytes", accepted=f"at most {limit_bytes} bytes; --max-body-mb raises the limit"
    )
