"""Clients that do not read what they asked for."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from modelyard.gateway.slow_readers import SlowReaders
from modelyard.http.exchange import PIECE_BYTES, ClientLeft
from tests.gateway.http_client import HttpClient


class UnreadingClient(HttpClient):
    """Takes so many pieces, then none."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self._takes = takes

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body" and len(self.pieces) == self._takes:
            await asyncio.Event().wait()
        await super().send(message)


@pytest.mark.parametrize("takes", [0, 3])
async def test_a_client_that_takes_too_long_for_a_piece_counts_as_one_that_left(takes: int) -> None:
    client = UnreadingClient(takes)
    http, readers = client.http, SlowReaders(0.01)
    readers.add(http)
    looking = asyncio.create_task(readers.look_forever())
    with pytest.raises(ClientLeft), http.until_client_leaves():
        await http.send_bytes("image/png", bytes(8 * PIECE_BYTES), {})
    looking.cancel()
    assert len(client.pieces) == takes
    assert not client.ended


async def test_a_client_that_reads_gets_a_large_answer_whole() -> None:
    client = HttpClient()
    payload = bytes(range(256)) * 5000
    await client.http.send_bytes("image/png", payload, {})
    assert b"".join(client.pieces) == payload
    assert client.ended
    assert len(client.pieces) == -(-len(payload) // PIECE_BYTES)
