"""`/v1/messages`, by Anthropic's own client: answers, events, blocks, errors, the length of a conversation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from modelyard.errors import InferenceFailed
from modelyard.gateway.surfaces.anthropic.messages import Messages
from tests.gateway.conftest import CHAT, MAX_BODY_BYTES, Gateway
from tests.gateway.http_client import HttpClient
from tests.gateway.test_inference import failing
from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server

anthropic = Later("anthropic")

MODEL = "tiny/chat"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
ASKED: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 12}
GREEDY = {"do_sample": False, "max_new_tokens": 12}


def expected(server: Server, messages: list[Any] = HELLO) -> str:
    """What v2 answers to the same."""
    return str(server.run(MODEL, messages=messages, params=GREEDY)["content"])


def text_of(message: anthropic.types.Message) -> str:
    (block,) = message.content
    assert block.type == "text"
    return block.text


def test_an_answer_is_v2s_with_its_tokens_and_why_it_ended(server: Server, client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**ASKED)

    assert text_of(answer) == expected(server)
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", MODEL)
    assert (answer.stop_reason, answer.stop_sequence) == ("max_tokens", None)
    assert answer.id.startswith("msg_")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens == 12


def test_events_put_together_are_the_answer(server: Server, client: anthropic.Anthropic) -> None:
    whole = client.messages.create(**ASKED)
    with client.messages.stream(**ASKED) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    events = list(client.messages.create(**ASKED, stream=True))
    kinds = [event.type for event in events]
    assert events[0].type == "message_start"
    assert events[0].message.usage.input_tokens == whole.usage.input_tokens

    assert "".join(pieces) == text_of(final) == text_of(whole) == expected(server)
    assert len(pieces) > 3
    assert (final.stop_reason, final.usage) == (whole.stop_reason, whole.usage)
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert {*kinds[2:-3]} == {"content_block_delta"}


async def test_the_asynchronous_client_reads_the_same(server: Server) -> None:
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key=KEY, timeout=REQUEST_S) as client:
        answer = await client.messages.create(**ASKED)
    assert text_of(answer) == expected(server)


def test_a_stop_sequence_is_told(server: Server, client: anthropic.Anthropic) -> None:
    whole = expected(server)
    stop = whole[len(whole) // 2 :][:2]
    answer = client.messages.create(**ASKED, stop_sequences=["never made", stop])

    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", stop)
    assert text_of(answer) == whole[: whole.index(stop)]


def test_the_systems_words_come_first_wherever_they_stand(server: Server, client: anthropic.Anthropic) -> None:
    wanted = expected(server, [{"role": "system", "content": "be brief"}, *HELLO])
    blocks: list[Any] = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    inside: list[Any] = [{"role": "system", "content": "be brief"}, *HELLO]

    assert text_of(client.messages.create(**ASKED, system="be brief")) == wanted
    assert text_of(client.messages.create(**ASKED, system=blocks)) == wanted
    assert text_of(client.messages.create(**{**ASKED, "messages": inside})) == wanted


def test_fields_that_are_not_known_are_left_alone(server: Server, client: anthropic.Anthropic) -> None:
    more = {"context_management": {"edits": []}, "metadata": {"user_id": "ada"}}
    assert text_of(client.messages.create(**ASKED, extra_body=more)) == expected(server)


def test_the_length_is_the_one_that_an_answer_tells(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model=MODEL, messages=HELLO, system="be brief")
    answer = client.messages.create(**ASKED, system="be brief")

    assert counted.input_tokens == answer.usage.input_tokens


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"temperature": 2}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "hello " * 2000}]}, "tokens"),
        ({"system": [{"type": "image"}]}, "system[0]"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "tools"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"model": "tiny/encoder"}, "model"),
    ],
)
def test_what_is_wrong_or_cannot_be_done_is_a_400_that_names_it(
    client: anthropic.Anthropic, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(**ASKED, extra_body=wrong)
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["error"]["type"] == "invalid_request_error"
    assert words in raised.value.body["error"]["message"]


def test_keys_and_models_that_are_not_there(server: Server, client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="tiny/chat"):
        client.messages.create(**{**ASKED, "model": "tiny/chap"})
    with (
        anthropic.Anthropic(base_url=server.url, api_key="nobody's", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError, match="not known"),
    ):
        stranger.messages.create(**ASKED)


async def test_a_failure_after_the_first_piece_is_an_event_of_its_own(gateway: Gateway) -> None:
    gateway.destination.answering = failing(InferenceFailed("The model failed."), "hel", "lo")
    body = {"model": CHAT, "messages": HELLO, "max_tokens": 5, "stream": True}
    client = await gateway.ask(HttpClient(body, key=gateway.key), Messages(MAX_BODY_BYTES), None)

    events = b"".join(client.pieces).decode().strip().split("\n\n")
    kind, data = events[-1].split("\n")
    assert kind == "event: error"
    assert msgspec.json.decode(data.removeprefix("data: "))["error"]["type"] == "api_error"
    assert client.ended
    assert not any("message_stop" in each for each in events)
