"""Calls beside inference: a gateway passes each on, whole, to the process that it follows, which answers it as its own.

Over HTTP, on a socket of that process's own. Owns the headers in which a gateway says who it is and who asks.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from modelyard.errors import Unavailable
from modelyard.gateway.event_streams import EVENT_STREAM
from modelyard.gateway.following.follower import NO_LEADER_S
from modelyard.gateway.following.leader import Leader
from modelyard.http.connections import SCOPE_KEY, HeldConnection, find_connection
from modelyard.http.exchange import App, ClientLeft, HttpExchange, LeavingGuard, Message, Receive, Scope, Send
from modelyard.tls import LinkTls

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
BODY = frozenset({b"content-length", b"transfer-encoding"})
NOT_SENT = HOP | {TRUSTED, b"date", b"transfer-encoding"}
"""Headers of an answer that a client is not sent, or gets from the gateway."""
PROBES = frozenset({"/livez", "/readyz"})
"""Ask for nothing that a gateway might have to tell, and wait for none."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of calls that change nothing, and whose bodies nobody reads."""
MISDIRECTED = 421
"""What a process answers that does not lead any more. Source: RFC 9110, 15.5.20."""
AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class CallsAddress:
    """Where calls are passed on to: `unix:/path`, `tcp://host:port`, `tls://host:port`. `secret`: what is shown there;
    `may_change`: another process may take its place."""

    url: str
    secret: str
    may_change: bool = False

    @property
    def http_url(self) -> str:
        """For whoever speaks HTTP there. On a Unix socket any host will do."""
        kind, _, where = self.url.partition(":")
        return {"tcp": f"http:{where}", "tls": f"https:{where}"}.get(kind, "http://modelyard")


class LeftBehind(Exception):
    """The process that a call went to is followed no more."""


class PassedOn:
    """ASGI 3, in a gateway: everything goes to the process that is followed."""

    def __init__(self, find: Callable[[], Awaitable[CallsAddress]], tls: LinkTls | None = None) -> None:
        """`find`: where calls go at this moment, once anybody is followed; raises Unavailable. `tls`: what is shown
        there, where it wants it."""
        self._find = find
        self._verify = False if tls is None else tls.connects
        self._address: CallsAddress | None = None
        self._transport = httpx.AsyncHTTPTransport(verify=self._verify)
        self._listening: set[LeavingGuard] = set()
        """Over the answers that go on."""
        self._asking: set[asyncio.Future[httpx.Response]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on, and its answer back. What only reads is asked of the next process that is followed
        when the one before it has gone without an answer, and so is what nothing was sent of."""
        if scope["type"] != "http":
            return
        body = Body(receive)
        try:
            response = await self._find_response(scope, body)
        except ClientLeft:
            return
        except (httpx.TransportError, LeftBehind, Unavailable) as error:
            log.warning("a call could not be passed on: %s", error)
            await refuse(HttpExchange(scope, receive, send))
            return
        try:
            if response.headers.get("content-type", "").startswith(EVENT_STREAM):
                await self._listen(response, scope, receive, send)
            else:
                await answer(response, scope, send)
        finally:
            await response.aclose()

    async def _listen(self, response: httpx.Response, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on an answer that ends with its client, or when this process is to end."""
        guard = LeavingGuard(receive, find_connection(scope))
        self._listening.add(guard)
        try:
            with guard:
                await answer(response, scope, send)
        except (ClientLeft, httpx.TransportError):
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._listening.discard(guard)

    def stop(self) -> None:
        """Ends the answers that go on: their clients ask again, another process."""
        for guard in self._listening:
            guard.leave()

    async def close(self) -> None:
        """Closes its connections."""
        await self._transport.aclose()

    async def _find_response(self, scope: Scope, body: Body) -> httpx.Response:
        """From whoever is followed. Raises ClientLeft, httpx.TransportError, LeftBehind, Unavailable."""
        give_up_at = monotonic() + NO_LEADER_S
        while True:
            address = await self._find()
            try:
                return await self._ask(address, self._request(address, scope, body))
            except (httpx.TransportError, LeftBehind):
                if body.was_read or not address.may_change or monotonic() > give_up_at:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def _ask(self, address: CallsAddress, request: httpx.Request) -> httpx.Response:
        if address != self._address:
            await self._leave(address)
        asking = asyncio.ensure_future(self._transport.handle_async_request(request))
        self._asking.add(asking)
        try:
            await asyncio.wait({asking})
        finally:
            self._asking.discard(asking)
            asking.cancel()  # unless it is over
        if asking.cancelled():
            raise LeftBehind("another server leads")
        response = asking.result()
        if response.status_code == MISDIRECTED:
            await response.aclose()
            raise LeftBehind("another server leads")
        return response

    async def _leave(self, address: CallsAddress) -> None:
        """Asks at `address` from now on. One that was left may be stopped, and never answer."""
        left, self._address = self._transport, address
        is_unix = address.url.startswith("unix:")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        uds = address.url.removeprefix("unix:") if is_unix else None
        self._transport = httpx.AsyncHTTPTransport(uds=uds, limits=limits, verify=self._verify)
        for asking in list(self._asking):
            asking.cancel()
        await left.aclose()

    def _request(self, address: CallsAddress, scope: Scope, body: Body) -> httpx.Request:
        base = httpx.URL(address.http_url)
        content = None if scope["method"] in READS else body.pieces()
        headers = self._headers(scope, address.secret)
        return httpx.Request(scope["method"], base, headers=headers, content=content, extensions=target_of(scope))

    def _headers(self, scope: Scope, secret: str) -> list[tuple[bytes, bytes]]:
        client = scope.get("client")
        left_out = OWN | HOP | (BODY if scope["method"] in READS else frozenset())
        kept = [(name, value) for name, value in scope["headers"] if name not in left_out]
        if not any(name == b"content-length" or name == b"transfer-encoding" for name, _ in kept):
            kept.append((b"content-length", b"0"))
        return [
            *kept,
            (SECRET, secret.encode("ascii")),
            (CLIENT, b"" if client is None else str(client[0]).encode("latin-1")),
            (SCHEME, scope.get("scheme", "http").encode("ascii")),
        ]


def target_of(scope: Scope) -> dict[str, Any]:
    """The path, as this process has read it, and the query as it was sent."""
    query = scope.get("query_string", b"")
    return {"target": quote(scope["path"]).encode("ascii") + (b"?" + query if query else b""), "timeout": {}}


class Body:
    """A request's body. `was_read`: some of it may have been sent, so that it can be sent to nobody else."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.was_read = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """It, as it comes; it breaks off where the client leaves."""
        self.was_read = more = True
        while more:
            message = await self._receive()
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

    def __init__(self, send: Send, connection: HeldConnection | None) -> None:
        """`connection`: the gateway's own, which it closes when its client leaves."""
        self._send = send
        self._connection = connection
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
        """See HeldConnection."""
        if self._connection is not None:
            self._connection.watch(on_left)

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

    def __init__(self, app: App, secret: str, leader: Leader, confirm: Callable[[], Awaitable[bool]]) -> None:
        """`leader`: of the gateways. What they have answered before a call came is known to it, and what it has changed
        is known to them before its answer. `confirm`: whether this is the process that they are to follow."""
        self._app = app
        self._confirm = confirm
        self._secret = secret.encode("ascii")
        self._leader = leader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as if the client had come here itself."""
        headers = scope["headers"]
        told = {name: value for name, value in headers if name in OWN}
        if not hmac.compare_digest(told.get(SECRET, b""), self._secret):
            await HttpExchange(scope, receive, send).send_json(403, b'{"error":"Only gateways ask here."}', {})
            return
        if not await self._confirm():
            await HttpExchange(scope, receive, send).send_json(MISDIRECTED, b'{"error":"Another server leads."}', {})
            return
        changes = scope["method"] not in READS

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                if changes:
                    await self._leader.sync()
                if trusted.is_trusted:
                    message = {**message, "headers": [*message["headers"], (TRUSTED, b"1")]}
            await send(message)

        trusted = Trusted(send_on, find_connection(scope))
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
