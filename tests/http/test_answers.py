"""Answers that are sent whole: what leaves, in how many writes, and what is never sent."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from uvicorn.server import ServerState

from modelyard.http.connection import Connection, head_of
from modelyard.http.connections import ConnectionLimits, Connections
from modelyard.http.exchange import PIECE_BYTES, HttpExchange
from modelyard.http.server import uvicorn_config

DEADLINE_S = 200.0
GET = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
OLD = GET.replace(b"HTTP/1.1", b"HTTP/1.0")

Serve = Callable[[HttpExchange], Awaitable[None]]


class Wire(asyncio.Transport):
    """What is written to a connection, write by write."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.closed = asyncio.Event()

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.closed.set()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def pause_reading(self) -> None:
        """There is nothing to read but what a test hands over."""

    resume_reading = pause_reading


class Client:
    """A connection with one client, whose requests `serve` answers."""

    def __init__(self, serve: Serve) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await serve(HttpExchange(scope, receive, send))

        config = uvicorn_config(app)
        config.load()
        self.state = ServerState()
        self.wire = Wire()
        self.connection = Connection(Connections(ConnectionLimits()), config, self.state, {})
        self.connection.connection_made(self.wire)

    async def ask(self, request: bytes) -> list[bytes]:
        """The writes that answer what is sent."""
        self.connection.data_received(request)
        async with asyncio.timeout(DEADLINE_S):
            while self.state.tasks:
                await asyncio.wait(set(self.state.tasks))
        writes, self.wire.writes = self.wire.writes, []
        return writes

    def leave(self) -> None:
        self.connection.connection_lost(None)


async def hello(http: HttpExchange) -> None:
    await http.send_json(200, b'"hello"', {"x-request-id": "req_1"})


async def test_a_whole_answer_leaves_in_one_write() -> None:
    client = Client(hello)
    (written,) = await client.ask(GET)
    head, _, body = written.partition(b"\r\n\r\n")
    assert body == b'"hello"'
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"content-type: application/json; charset=utf-8",
        b"x-request-id: req_1",
        b"content-length: 7",
    ]
    assert not client.wire.is_closing()
    client.leave()


async def test_answers_on_one_connection_come_in_the_order_of_their_requests() -> None:
    names = iter("abc")

    async def count(http: HttpExchange) -> None:
        name = next(names)
        await asyncio.sleep(0)
        await http.send_json(200, name.encode(), {})

    client = Client(count)
    assert [each[-1:] for each in await client.ask(GET * 3)] == [b"a", b"b", b"c"]
    client.leave()


async def test_a_head_request_gets_no_body() -> None:
    client = Client(hello)
    (written,) = await client.ask(HEAD)
    assert written.endswith(b"content-length: 7\r\n\r\n")
    client.leave()


async def test_a_client_that_keeps_no_connection_is_told_that_it_closes() -> None:
    client = Client(hello)
    (written,) = await client.ask(OLD)
    assert b"\r\nconnection: close\r\n\r\n" in written
    assert client.wire.is_closing()
    client.leave()


async def test_a_client_that_has_left_gets_nothing() -> None:
    async def answer_late(http: HttpExchange) -> None:
        client.leave()
        await hello(http)

    client = Client(answer_late)
    assert await client.ask(GET) == []


async def test_a_large_answer_leaves_in_pieces() -> None:
    body = b"x" * (2 * PIECE_BYTES + 1)

    async def serve(http: HttpExchange) -> None:
        await http.send_bytes("text/plain", body, {})

    client = Client(serve)
    head, *pieces = await client.ask(GET)
    assert b"content-length: %d\r\n" % len(body) in head
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) == PIECE_BYTES
    client.leave()


@pytest.fixture
def server_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What uvicorn logs, whatever a server of another test in this process has set for it."""
    logger = logging.getLogger("uvicorn.error")
    with caplog.at_level(logging.ERROR, logger.name):
        logger.addHandler(caplog.handler)
        yield caplog
        logger.removeHandler(caplog.handler)


async def test_a_second_answer_is_not_sent(server_log: pytest.LogCaptureFixture) -> None:
    async def answer_twice(http: HttpExchange) -> None:
        await hello(http)
        await hello(http)

    client = Client(answer_twice)
    assert len(await client.ask(GET * 2)) == 2
    assert "Exception in ASGI application" in server_log.text
    client.leave()


@pytest.mark.parametrize("value", ["a\r\nset-cookie: x", "a\nb", "a\x00", "a\x7f"])
def test_a_header_that_would_be_two_is_not_sent(value: str) -> None:
    with pytest.raises(ValueError, match="not to be sent"):
        head_of(200, b"", {"content-type": value})


def test_the_usual_headers_come_first() -> None:
    assert head_of(200, b"date: now\r\n", {"a": "é"}) == b"HTTP/1.1 200 OK\r\ndate: now\r\na: \xe9\r\n"


def test_the_usual_headers_are_encoded_anew_when_there_are_others() -> None:
    connections = Connections(ConnectionLimits())
    first, second = [(b"date", b"now"), (b"via", b"x")], [(b"date", b"later")]
    assert connections.encode_usual(first) == b"date: now\r\nvia: x\r\n"
    assert connections.encode_usual(second) == b"date: later\r\n"
    assert connections.encode_usual([]) == b""


@pytest.mark.parametrize("sent", [b"", GET, GET[:5]])
async def test_a_connection_that_has_ended_is_gone_without_a_collection(sent: bytes) -> None:
    client = Client(hello)
    await client.ask(sent)
    connection = weakref.ref(client.connection)
    client.leave()
    gc.disable()
    try:
        del client
        assert connection() is None
    finally:
        gc.enable()
