"""How streams of responses end that do not end well, and what is kept of an account's responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.errors import InferenceFailed
from modelyard.protocol import Thought
from tests.gateway.conftest import CHAT, Gateway, answer_with
from tests.gateway.http_client import HttpClient
from tests.gateway.test_inference import failing

BODY: Mapping[str, Any] = {"model": CHAT, "input": "hi"}
ANSWER = {"role": "assistant", "content": "hello there"}


async def ask(gateway: Gateway, **more: Any) -> HttpClient:
    client = HttpClient({**BODY, **more}, key=gateway.key)
    return await gateway.ask(client, gateway.surfaces.at["/v1/responses"], None)


def events_of(client: HttpClient) -> list[Any]:
    *events, rest = b"".join(client.pieces).decode().split("\n\n")
    assert rest == ""
    pairs = [each.split("\n", 1) for each in events]
    read = [msgspec.json.decode(data.removeprefix("data: ")) for _, data in pairs]
    assert [name.removeprefix("event: ") for name, _ in pairs] == [each["type"] for each in read]
    assert [each["sequence_number"] for each in read] == list(range(len(read)))
    return read


async def test_a_failure_in_the_middle_ends_in_a_response_that_failed(gateway: Gateway) -> None:
    gateway.destination.answering = failing(InferenceFailed("The model failed."), "hel", "lo")
    client = await ask(gateway, stream=True)

    *_, error, last = events_of(client)
    assert (client.status, client.ended) == (200, True)
    assert (error["type"], error["code"], error["message"]) == ("error", "inference_failed", "The model failed.")
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": "inference_failed", "message": "The model failed."}


async def test_a_failure_before_the_first_event_has_a_status(gateway: Gateway) -> None:
    gateway.destination.answering = failing(InferenceFailed("The model failed."))
    client = await ask(gateway, stream=True)
    assert (client.status, client.json()["error"]["code"]) == (500, "inference_failed")


async def test_a_stream_of_nothing_but_its_end_is_in_order(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with({**ANSWER, "reasoning_content": "Hm."})
    events = events_of(await ask(gateway, stream=True))
    assert [each["type"] for each in events[:2]] == ["response.created", "response.in_progress"]
    assert [each["type"] for each in events[-1]["response"]["output"]] == ["reasoning", "message"]
    assert [each["output_index"] for each in events if each["type"] == "response.output_item.done"] == [0, 1]


async def test_thinking_behind_what_was_said_is_left_out_of_the_items(gateway: Gateway) -> None:
    whole = {**ANSWER, "reasoning_content": "Hm. Ah."}
    gateway.destination.answering = answer_with(whole, Thought("Hm."), "hello", Thought(" Ah."), " there")
    events = events_of(await ask(gateway, stream=True))
    assert "".join(each["delta"] for each in events if each["type"] == "response.reasoning_text.delta") == "Hm."
    assert "".join(each["delta"] for each in events if each["type"] == "response.output_text.delta") == "hello there"
    added = [each["item"]["id"] for each in events if each["type"] == "response.output_item.added"]
    assert added == [each["id"] for each in events[-1]["response"]["output"]]


async def test_beyond_its_limits_an_accounts_oldest_response_goes(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with(ANSWER)
    made = [(await ask(gateway, input=f"hi {number}")).json()["id"] for number in range(4)]
    told = [(await ask(gateway, previous_response_id=name)).status for name in reversed(made[1:])]
    assert told[0] == 200
    assert (await ask(gateway, previous_response_id=made[0])).status == 404


async def test_a_conversation_too_large_to_keep_is_refused_unless_it_is_not_to_be_kept(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with(ANSWER)
    client = await ask(gateway, input="x" * 20_000)
    assert (client.status, client.json()["error"]["param"]) == (400, "store")
    assert (await ask(gateway, input="x" * 20_000, store=False)).status == 200


async def test_a_response_that_has_expired_is_gone(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with(ANSWER)
    name = (await ask(gateway)).json()["id"]
    assert (await ask(gateway, previous_response_id=name)).status == 200
    gateway.control.clock.advance(3601)
    assert (await ask(gateway, previous_response_id=name)).status == 404
