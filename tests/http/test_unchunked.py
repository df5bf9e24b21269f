"""What clients of HTTP/1.0 get of answers whose length nobody knows before their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.server import ServerState

from modelyard.http.connection import Connection
from modelyard.http.connections import ConnectionLimits, Connections
from modelyard.http.exchange import PIECE_BYTES, HttpExchange
from modelyard.http.server import uvicorn_config
from tests.http.test_answers import GET, HEAD, OLD

Serve = Callable[[HttpExchange], Awaitable[None]]


@asynccontextmanager
async def asked(serve: Serve, request: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """What comes of a request that is sent over a real connection."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await serve(HttpExchange(scope, receive, send))

    config = uvicorn_config(app)
    config.load()
    connections, state = Connections(ConnectionLimits()), ServerState()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Connection(connections, config, state, {}), "127.0.0.1") as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        yield reader
        writer.close()


async def stream(http: HttpExchange) -> None:
    await http.start_stream("text/plain", {})
    for piece in (b"a", b"", b"bc"):
        await http.send_chunk(piece)
    await http.end_stream()


async def break_off(http: HttpExchange) -> None:
    await http.start_stream("text/plain", {})
    await http.send_chunk(b"a")


async def test_a_stream_has_no_chunks_and_ends_with_its_connection() -> None:
    async with asked(stream, OLD) as answer:
        head, _, body = (await answer.read()).partition(b"\r\n\r\n")
    assert body == b"abc"
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head


async def test_a_stream_that_breaks_off_ends_with_an_error() -> None:
    async with asked(break_off, OLD) as answer:
        with pytest.raises(ConnectionResetError):
            await answer.read()


async def test_a_large_answer_is_as_ever() -> None:
    whole = b"x" * (PIECE_BYTES + 1)

    async def serve(http: HttpExchange) -> None:
        await http.send_bytes("text/plain", whole, {})

    async with asked(serve, OLD) as answer:
        head, _, body = (await answer.read()).partition(b"\r\n\r\n")
    assert body == whole
    assert b"content-length: %d\r\n" % len(whole) in head


async def test_a_head_request_gets_no_body() -> None:
    async with asked(stream, HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")) as answer:
        assert (await answer.read()).endswith(b"\r\n\r\n")


async def test_others_are_sent_chunks() -> None:
    async with asked(stream, GET) as answer:
        assert (await answer.readuntil(b"0\r\n\r\n")).endswith(b"\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")
