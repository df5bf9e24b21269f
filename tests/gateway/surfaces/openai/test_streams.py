"""How chat's streams end that do not end well, and what clients that leave do to the work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from modelyard.errors import DeadlineExceeded, InferenceFailed, ReplicaLost
from modelyard.gateway.surfaces.openai.chat import ChatCompletions
from tests.gateway.conftest import CHAT, MAX_BODY_BYTES, Gateway, answer_with
from tests.gateway.http_client import HttpClient
from tests.gateway.test_inference import failing, never

ANSWER = {"role": "assistant", "content": "hello there"}
BODY: Mapping[str, Any] = {"model": CHAT, "messages": [{"role": "user", "content": "hi"}]}


async def ask(gateway: Gateway, client: HttpClient) -> HttpClient:
    return await gateway.ask(client, ChatCompletions(MAX_BODY_BYTES), None)


def events_of(client: HttpClient) -> list[Any]:
    """The events, [DONE] as it is."""
    *events, rest = b"".join(client.pieces).decode().split("\n\n")
    assert rest == ""
    read = [each.removeprefix("data: ") for each in events]
    return [each if each == "[DONE]" else msgspec.json.decode(each) for each in read]


async def test_a_failure_after_the_first_piece_is_the_last_event(gateway: Gateway) -> None:
    gateway.destination.answering = failing(InferenceFailed("The model failed."), "hel", "lo")
    client = await ask(gateway, HttpClient({**BODY, "stream": True}, key=gateway.key))

    *pieces, last = events_of(client)
    assert (client.status, client.ended) == (200, True)
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in pieces) == "hello"
    assert last == {
        "error": {"message": "The model failed.", "type": "server_error", "param": None, "code": "inference_failed"}
    }


async def test_a_failure_before_the_first_piece_has_a_status(gateway: Gateway) -> None:
    gateway.destination.answering = failing(ReplicaLost("It is gone."))
    client = await ask(gateway, HttpClient({**BODY, "stream": True}, key=gateway.key))

    assert (client.status, client.json()["error"]["type"]) == (503, "server_error")


async def test_a_stream_whose_time_is_over_says_so_once(gateway: Gateway) -> None:
    async def slow(request: Any, on_piece: Any) -> Any:
        await on_piece("hello")
        await asyncio.Event().wait()

    gateway.destination.answering = slow
    client = await ask(gateway, HttpClient({**BODY, "stream": True, "timeout": 0.05}, key=gateway.key))

    errors = [each["error"]["code"] for each in events_of(client) if "error" in each]
    assert errors == [DeadlineExceeded.code]
    assert client.ended


async def test_a_stream_of_nothing_has_its_beginning_and_its_end(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with({"role": "assistant", "content": ""})
    client = await ask(gateway, HttpClient({**BODY, "stream": True}, key=gateway.key))

    first, last, done = events_of(client)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"], done) == ({}, "stop", "[DONE]")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_work(gateway: Gateway, stream: bool) -> None:
    gateway.destination.answering = never
    client = HttpClient({**BODY, "stream": stream}, key=gateway.key)
    working = asyncio.create_task(ask(gateway, client))
    while not gateway.destination.requests:
        await asyncio.sleep(0)
    client.left.set()
    await working

    assert gateway.destination.cancelled
    assert (client.status, gateway.quotas.under_way()) == (None, 0)


async def test_the_key_may_come_as_anthropics_clients_send_it(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with(ANSWER)
    client = HttpClient(BODY)
    client.scope["headers"].append((b"x-api-key", gateway.key.encode()))

    assert (await ask(gateway, client)).json()["choices"][0]["message"]["content"] == "hello there"
