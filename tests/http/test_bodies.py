"""Bodies of requests: whole in one piece, in pieces, in steps, too large."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.errors import BodyTooLarge, UnsupportedMediaType
from modelyard.http.exchange import UNCOUNTED_BYTES, ClientLeft, HttpExchange
from tests.http.test_answers import DEADLINE_S, Client

MOST_BYTES = 4 * UNCOUNTED_BYTES


def post(body: bytes) -> bytes:
    """A request with a body."""
    return b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def read_back(http: HttpExchange) -> None:
    """Answers with the body."""
    await http.send_json(200, bytes(await http.body(MOST_BYTES)), {})


@pytest.mark.parametrize("size", [0, 1, UNCOUNTED_BYTES, UNCOUNTED_BYTES + 1, MOST_BYTES])
async def test_a_body_is_read_whole_in_however_many_pieces_it_comes(size: int) -> None:
    body, client = b"x" * size, Client(read_back)
    request = post(body)
    for cut in (len(request), len(request) - size, len(request) - size // 2):
        client.connection.data_received(request[:cut])
        await asyncio.sleep(0)
        (written,) = await client.ask(request[cut:])
        assert written.partition(b"\r\n\r\n")[2] == body
    client.leave()


async def test_each_of_two_requests_that_come_together_has_its_own_body() -> None:
    client = Client(read_back)
    assert [each[-1:] for each in await client.ask(post(b"a") + post(b"b"))] == [b"a", b"b"]
    client.leave()


@pytest.mark.parametrize("limit", [0, 9, UNCOUNTED_BYTES])
async def test_a_body_above_the_limit_is_refused(limit: int) -> None:
    refused: list[BodyTooLarge] = []

    async def refuse(http: HttpExchange) -> None:
        with pytest.raises(BodyTooLarge) as error:
            await http.body(limit)
        refused.append(error.value)
        await http.send_json(413, b"", {})

    client = Client(refuse)
    await client.ask(post(b"x" * (limit + 1)))
    assert f"got '{limit + 1} bytes'" in refused[0].message
    client.leave()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", "x"),
        ("Identity", "x"),
        ("gzip", "content-encoding: got 'gzip'; accepted: none: send the body as it is"),
        ("gzip, identity", "content-encoding: got 'gzip, identity'; accepted: none: send the body as it is"),
    ],
)
async def test_a_compressed_body_is_refused(encoding: str, body: str) -> None:
    async def serve(http: HttpExchange) -> None:
        try:
            await read_back(http)
        except UnsupportedMediaType as error:
            await http.send_json(error.status, error.message.encode(), {})

    client = Client(serve)
    request = post(b"x").replace(b"\r\n\r\n", b"\r\ncontent-encoding: %b\r\n\r\n" % encoding.encode())
    (written,) = await client.ask(request)
    assert written.partition(b"\r\n\r\n")[2].decode() == body
    client.leave()


async def test_a_client_that_leaves_in_its_body_is_seen_to_leave() -> None:
    left = asyncio.Event()

    async def read(http: HttpExchange) -> None:
        with pytest.raises(ClientLeft):
            await http.body(MOST_BYTES)
        left.set()

    client = Client(read)
    client.connection.data_received(post(b"hello")[:-1])
    await asyncio.sleep(0)
    client.leave()
    async with asyncio.timeout(DEADLINE_S):
        await left.wait()
