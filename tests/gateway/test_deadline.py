"""The time that one request may take: what its client is told, and what becomes of its work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modelyard.errors import DeadlineExceeded
from modelyard.gateway.deadline import Deadlines
from modelyard.gateway.destinations.base import OnPiece
from modelyard.gateway.model_request import ModelRequest
from tests.gateway.conftest import Gateway
from tests.gateway.http_client import HttpClient

SHORT_S = 0.5
"""Long enough for a request to reach its destination on a busy machine."""


async def never_answers(request: ModelRequest, on_piece: OnPiece | None) -> Any:
    if on_piece is not None:
        await on_piece("a piece")
    await asyncio.Event().wait()


async def test_at_the_deadline_the_client_gets_504_with_the_figures_and_the_work_is_cancelled(gateway: Gateway) -> None:
    gateway.destination.answering = never_answers
    client = await gateway.ask(HttpClient({"text": "hello", "timeout": SHORT_S}, key=gateway.key))
    assert client.status == 504
    assert client.json()["error"].startswith(f"The request was not done within the {SHORT_S} s it may take: ")
    assert gateway.destination.cancelled
    assert (await gateway.record()).outcome == "cancelled"  # type: ignore[union-attr]


async def test_a_stream_that_has_begun_breaks_at_the_deadline(gateway: Gateway) -> None:
    gateway.destination.answering = never_answers
    body = {"text": "hello", "stream": True, "timeout": SHORT_S}
    client = await gateway.ask(HttpClient(body, key=gateway.key))
    assert client.status == 200
    assert client.pieces == [b"a piece"]
    assert not client.ended
    assert gateway.destination.cancelled


async def test_the_client_is_told_though_the_replica_has_not_let_go(gateway: Gateway) -> None:
    let_go = asyncio.Event()

    async def goes_on(request: ModelRequest, on_piece: OnPiece | None) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    gateway.destination.answering = goes_on
    client = HttpClient({"text": "hello", "timeout": SHORT_S}, key=gateway.key)
    asking = asyncio.create_task(gateway.ask(client))
    async with asyncio.timeout(200):
        while not client.ended:
            await client.changed.wait()
            client.changed.clear()
    assert client.status == 504
    assert not asking.done()
    let_go.set()
    await asking
    assert (await gateway.record()).outcome == "cancelled"  # type: ignore[union-attr]


async def test_what_is_done_in_time_is_answered_and_leaves_no_timer(gateway: Gateway) -> None:
    client = await gateway.ask(HttpClient({"text": "hello", "timeout": 30}, key=gateway.key))
    assert client.status == 200
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


@pytest.mark.parametrize("timeout", [0, -1, True, "soon", [1]])
async def test_a_timeout_is_a_number_of_seconds(gateway: Gateway, timeout: Any) -> None:
    client = await gateway.ask(HttpClient({"text": "hello", "timeout": timeout}, key=gateway.key))
    assert client.status == 422
    assert client.json()["error"].startswith("timeout: got ")
    assert gateway.destination.requests == []


async def test_of_those_with_the_usual_time_each_ends_when_its_own_is_over() -> None:
    deadlines = Deadlines(SHORT_S)
    told: list[str] = []

    async def wait(name: str) -> None:
        async def tell(error: DeadlineExceeded) -> None:
            told.append(name)

        async with deadlines.begin(tell):
            await asyncio.Event().wait()

    async def ends_in_time() -> None:
        async with deadlines.begin(never_called):
            await asyncio.sleep(0)

    for name in ("first", "second"):
        waiting = asyncio.create_task(wait(name))
        await asyncio.gather(ends_in_time(), ends_in_time())
        with pytest.raises(DeadlineExceeded, match=f"within the {SHORT_S} s") as raised:
            async with asyncio.timeout(200):
                await waiting
        assert raised.value.data["cause"] == "waiting", "no replica had it"
    assert told == ["first", "second"]


async def never_called(error: DeadlineExceeded) -> None:
    raise AssertionError(error)
