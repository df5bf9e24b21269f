"""Calls beside inference: a gateway passes each on, whole, to the process that it follows, which answers it as its own.

Over HTTP, on a socket of that process's own. Owns the headers in which a gateway says who it is and who asks.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import msgspec

from modelyard.errors import Unavailable
from modelyard.gateway.following.leader import Leader
from modelyard.http.connections import SCOPE_KEY, HeldConnection, find_connection
from modelyard.http.exchange import App, ClientLeft, HttpExchange, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

SECRET, CLIENT, SCHEME, TRUSTED = (
    b"x-modelyard-gateway",
    b"x-modelyard-client",
    b"x-modelyard-scheme",
    b"x-modelyard-trusted",
)
OWN = frozenset({SECRET, CLIENT, SCHEME, TRUSTED})
HOP = frozenset({b"connection", b"keep-alive", b"upgrade", b"te", b"trailer", b"proxy-connection", b"expect"})
"""Headers of one connection, not of the request. Source: RFC 9110, 7.6.1. A body is passed on as it comes, so nobody
has to wait for leave to send it."""
NOT_SENT = HOP | {TRUSTED, b"date", b"transfer-encoding"}
"""Headers of an answer that a client is not sent, or gets from the gateway."""
PROBES = frozenset({"/livez", "/readyz"})
"""Ask for nothing that a gateway might have to tell, and wait for none."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})


class PassedOn:
    """ASGI 3, in a gateway: everything goes to the process that is followed."""

    def __init__(self, url: str, secret: str) -> None:
        """`url`: `unix:/path` or `tcp://host:port`."""
        is_unix = url.startswith("unix:")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._transport = httpx.AsyncHTTPTransport(uds=url.removeprefix("unix:") if is_unix else None, limits=limits)
        self._base = httpx.URL("http://modelyard" if is_unix else url.replace("tcp:", "http:", 1))
        self._secret = secret.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on, and its answer back."""
        if scope["type"] != "http":
            return
        request = httpx.Request(
            scope["method"],
            self._base,
            headers=self._headers(scope),
            content=body_of(receive),
            extensions=target_of(scope),
        )
        try:
            response = await self._transport.handle_async_request(request)
        except ClientLeft:
            return
        except httpx.TransportError as error:
            log.warning("a call could not be passed on: %s", error)
            await refuse(HttpExchange(scope, receive, send))
            return
        try:
            await answer(response, scope, send)
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Closes its connections."""
        await self._transport.aclose()

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        client = scope.get("client")
        kept = [(name, value) for name, value in scope["headers"] if name not in OWN and name not in HOP]
        if not any(name == b"content-length" or name == b"transfer-encoding" for name, _ in kept):
            kept.append((b"content-length", b"0"))
        return [
            *kept,
            (SECRET, self._secret),
            (CLIENT, b"" if client is None else str(client[0]).encode("latin-1")),
            (SCHEME, scope.get("scheme", "http").encode("ascii")),
        ]


def target_of(scope: Scope) -> dict[str, Any]:
    """The path and query as they were sent."""
    raw = scope.get("raw_path") or scope["path"].encode("utf-8")
    query = scope.get("query_string", b"")
    return {"target": raw + (b"?" + query if query else b""), "timeout": {}}


async def body_of(receive: Receive) -> AsyncIterator[bytes]:
    """A request's body as it comes; it breaks off where the client leaves."""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeft
        more = bool(message.get("more_body"))
        if message.get("body"):
            yield bytes(message["body"])


async def answer(response: httpx.Response, scope: Scope, send: Send) -> None:
    """Gives a client the answer as it comes. Whether the client has shown a valid key is between us."""
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    if any(name == TRUSTED for name, _ in headers) and (connection := find_connection(scope)) is not None:
        connection.trust()
    sent = [(name, value) for name, value in headers if name not in NOT_SENT]
    await send({"type": "http.response.start", "status": response.status_code, "headers": sent})
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - of an asynchronous transport
    async for piece in response.stream:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def refuse(http: HttpExchange) -> None:
    """Answers while the process that is followed takes no calls: it is starting or ending."""
    message = "The server is starting or stopping. Try again in a moment."
    payload = msgspec.json.encode({"error": message, "output": None})
    await http.send_json(Unavailable.status, payload, {"retry-after": "1"})


class Trusted(HeldConnection):
    """In place of a client's connection, which is the gateway's: notes whether a valid key was shown."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_trusted = False

    def trust(self) -> None:
        """See HeldConnection."""
        self.is_trusted = True

    def is_overdue(self, now: float) -> bool:
        """Never: the gateway's own connection is looked at."""
        return False

    def end(self) -> None:
        """Not asked here."""

    def watch(self, on_left: Callable[[], None] | None) -> None:
        """Nothing here is ended when a client leaves."""

    def take_body(self, most_bytes: int) -> bytes | None:
        """Nothing: it comes in messages."""
        return None

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Sends a whole answer, as a message like any other."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})


class Received:
    """ASGI 3, in the process that is followed: takes what gateways pass on, and nothing else."""

    def __init__(self, app: App, secret: str, leader: Leader) -> None:
        """`leader`: of the gateways. What they have answered before a call came is known to it, and what it has changed
        is known to them before its answer."""
        self._app = app
        self._secret = secret.encode("ascii")
        self._leader = leader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as if the client had come here itself."""
        headers = scope["headers"]
        told = {name: value for name, value in headers if name in OWN}
        if not hmac.compare_digest(told.get(SECRET, b""), self._secret):
            await HttpExchange(scope, receive, send).send_json(403, b'{"error":"Only gateways ask here."}', {})
            return
        changes = scope["method"] not in READS

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                if changes:
                    await self._leader.sync()
                if trusted.is_trusted:
                    message = {**message, "headers": [*message["headers"], (TRUSTED, b"1")]}
            await send(message)

        trusted = Trusted(send_on)
        client = told.get(CLIENT, b"").decode("latin-1")
        whole = {
            **scope,
            "headers": [(name, value) for name, value in headers if name not in OWN],
            "client": (client, 0) if client else None,
            "scheme": told.get(SCHEME, b"http").decode("ascii"),
            SCOPE_KEY: trusted,
        }
        if scope["path"] not in PROBES:
            await self._leader.sync(forgets=False)
        await self._app(whole, receive, send_on)
