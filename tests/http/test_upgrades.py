"""Requests that offer another protocol, as those of Java's client do: they are answered as if they had not."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.http.exchange import UNCOUNTED_BYTES
from tests.http.test_answers import GET, Client
from tests.http.test_bodies import read_back

OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
"""Source: RFC 7540, 3.2, which java.net.http follows where it is not told otherwise."""
BODY = b"x" * (UNCOUNTED_BYTES + 1)
FRAMED = {
    "length": b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "chunks": b"transfer-encoding: chunked\r\n\r\n5\r\n%b\r\n%x\r\n%b\r\n0\r\ntrailer: a\r\n\r\n"
    % (BODY[:5], len(BODY) - 5, BODY[5:]),
}


@pytest.mark.parametrize("framing", FRAMED)
@pytest.mark.parametrize("cut", ["nowhere", "behind the header", "in the body", "in the header"])
async def test_their_bodies_are_read(framing: str, cut: str) -> None:
    client = Client(read_back)
    request = b"POST / HTTP/1.1\r\nhost: here\r\n" + OFFER + FRAMED[framing]
    header = request.index(b"\r\n\r\n") + 4
    at = {"nowhere": 0, "behind the header": header, "in the body": header + 9, "in the header": 60}[cut]
    for _ in range(2):
        client.connection.data_received(request[:at])
        await asyncio.sleep(0)
        (written,) = await client.ask(request[at:])
        assert written.partition(b"\r\n\r\n")[2] == BODY
    assert not client.wire.is_closing()
    client.leave()


async def test_what_follows_them_is_another_request() -> None:
    client = Client(read_back)
    offering = [GET.replace(b"\r\n\r\n", b"\r\n" + OFFER + framed) for framed in (b"\r\n", *FRAMED.values())]
    answers = await client.ask(b"".join(each + GET for each in offering))
    bodies = [each.partition(b"\r\n\r\n")[2] for each in answers]
    assert bodies == [b"", b"", BODY, b"", BODY, b""]
    client.leave()


async def test_one_without_a_body_leaves_the_connection_open() -> None:
    client = Client(read_back)
    (answer,) = await client.ask(GET.replace(b"\r\n\r\n", b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" not in answer
    assert len(await client.ask(GET)) == 1
    client.leave()
