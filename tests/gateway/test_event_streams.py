"""Streams of events end: with their client, their key, their time, the server; and an account has so many at most."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import Request

from modelyard.errors import Throttled, Unauthorized, Unavailable
from modelyard.gateway import event_streams
from modelyard.gateway.event_streams import BEAT, MOST_OF_ACCOUNT, MOST_S, EventStream, EventStreams, message
from modelyard.records.accounts import Key
from tests.clock import START
from tests.gateway.http_client import HttpClient
from tests.loop import turns

DEADLINE_S = 200.0


KEY = Key("key_1", "ada", "laptop", "my-laptop", START)


async def let_in(shown: str | None, address: str | None) -> Key:
    """Every key holds."""
    return KEY


def request() -> Request:
    scope = {"type": "http", "method": "GET", "headers": [(b"authorization", b"Key k")], "query_string": b""}
    return Request(scope)


class Listening:
    """Somebody who listens to numbers, a new one each time that is looked."""

    def __init__(self, streams: EventStreams, seconds: int = MOST_S) -> None:
        self.client = HttpClient()
        self.looks = 0
        self.answer: EventStream = streams.answer(request(), "ada", self.look, seconds)
        self.task = asyncio.create_task(self.answer(self.client.scope, self.client.receive, self.client.send))
        self.client.body_was_read = True

    async def look(self) -> Sequence[bytes]:
        self.looks += 1
        return [message("count", self.looks, self.looks)]

    async def hears(self, text: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while text not in self.client.text():
                self.client.changed.clear()
                await self.client.changed.wait()

    async def ends(self) -> None:
        await asyncio.wait_for(self.task, DEADLINE_S)


@pytest.fixture(autouse=True)
def looked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "LOOK_S", 0.001)
    monkeypatch.setattr(event_streams, "CHECK_KEY_S", 0.005)


async def test_what_is_new_is_told_until_the_client_leaves() -> None:
    streams = EventStreams(let_in)
    listening = Listening(streams)
    await listening.hears("id: 2\nevent: count\ndata: 2\n\n")
    assert listening.client.headers["content-type"].startswith("text/event-stream")
    assert streams.count("ada") == 1
    listening.client.left.set()
    await listening.ends()
    assert streams.count("ada") == 0
    looks = listening.looks
    await turns(20)
    assert listening.looks == looks


async def test_many_messages_are_written_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "TOLD_AT_ONCE", 2)
    messages = [message("count", number) for number in range(5)]

    async def look() -> Sequence[bytes]:
        return messages

    client = HttpClient()
    client.body_was_read = True
    await EventStreams(let_in).answer(request(), "ada", look, 0)(client.scope, client.receive, client.send)
    assert client.pieces == [BEAT, b"".join(messages[:2]), b"".join(messages[2:4]), messages[4]]


async def test_it_ends_with_its_key() -> None:
    asked = []

    async def let_in_twice(shown: str | None, address: str | None) -> Key:
        asked.append(shown)
        if len(asked) > 2:
            raise Unauthorized
        return KEY

    listening = Listening(EventStreams(let_in_twice))
    await listening.ends()
    assert asked == ["Key k"] * 3
    assert listening.client.ended


async def test_it_ends_when_its_time_is_over_and_tells_what_there_is_before() -> None:
    listening = Listening(EventStreams(let_in), seconds=0)
    await listening.ends()
    assert "data: 1\n" in listening.client.text()
    assert "data: 2\n" not in listening.client.text()


async def test_all_end_when_the_server_stops() -> None:
    streams = EventStreams(let_in)
    several = [Listening(streams) for _ in range(3)]
    for each in several:
        await each.hears("data: 1")
    streams.stop()
    for each in several:
        await each.ends()
        assert each.client.ended


async def test_an_account_has_so_many_and_one_more_once_one_has_ended() -> None:
    streams = EventStreams(let_in)
    several = [Listening(streams) for _ in range(MOST_OF_ACCOUNT)]
    for each in several:
        await each.hears("data: 1")
    with pytest.raises(Throttled, match=str(MOST_OF_ACCOUNT)):
        streams.answer(request(), "ada", several[0].look, 1)
    assert streams.answer(request(), "bob", several[0].look, 1) is not None
    several[0].client.left.set()
    await several[0].ends()
    last = Listening(streams)
    await last.hears("data: 1")
    streams.stop()
    await asyncio.gather(*(each.ends() for each in (*several, last)))


async def test_it_ends_where_what_is_new_cannot_be_read() -> None:
    async def look() -> Sequence[bytes]:
        raise Unavailable("The database is away.")

    client = HttpClient()
    client.body_was_read = True
    answer = EventStreams(let_in).answer(request(), "ada", look, MOST_S)
    await answer(client.scope, client.receive, client.send)
    assert client.ended
