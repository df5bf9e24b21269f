"""Models that think before they answer, by Anthropic's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.later import Later
from tests.serving import Server
from tests.serving.scripted import SAID, THOUGHT, thinking_model

anthropic = Later("anthropic")

MODEL = "scripted/thinker"
ASKED: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is two and two?"}],
    "max_tokens": 1100,
    "tools": [{"name": "add", "input_schema": {"type": "object", "properties": {}, "additionalProperties": False}}],
}
THINKING: list[Any] = [{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}]


@pytest.fixture(scope="module", autouse=True)
def model(server: Server) -> Iterator[str]:
    """A model that thinks, answers and calls a function, whatever it is asked; its template begins the thinking."""
    with thinking_model(server, MODEL) as model_id:
        yield model_id


@pytest.mark.parametrize("thinking", THINKING)
def test_what_is_thought_is_a_block_in_front(client: anthropic.Anthropic, thinking: Any) -> None:
    answer = client.messages.create(**ASKED, thinking=thinking)

    first, second, third = answer.content
    assert (first.type, second.type, third.type) == ("thinking", "text", "tool_use")
    assert (first.thinking, second.text, third.name) == (THOUGHT, SAID, "add")
    assert first.signature
    assert answer.stop_reason == "tool_use"
    assert answer.usage.output_tokens_details is not None
    assert answer.usage.output_tokens_details.thinking_tokens == 3


def test_what_is_thought_is_streamed_as_a_block(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(**ASKED, thinking=THINKING[0])
    events = list(client.messages.create(**ASKED, thinking=THINKING[0], stream=True))
    with client.messages.stream(**ASKED, thinking=THINKING[0]) as stream:
        final = stream.get_final_message()

    for one, other in zip(final.content, whole.content, strict=True):
        left_out = {"id", "signature", "parsed_output"}
        assert one.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)
    assert final.content[0].type == "thinking"
    assert final.content[0].signature == final.id
    deltas = [(each.index, each.delta.type) for each in events if each.type == "content_block_delta"]
    assert [*dict.fromkeys(deltas)] == [
        (0, "thinking_delta"), (0, "signature_delta"), (1, "text_delta"), (2, "input_json_delta"),
    ]  # fmt: skip
    starts = [each.index for each in events if each.type == "content_block_start"]
    assert starts == [each.index for each in events if each.type == "content_block_stop"] == [0, 1, 2]


def test_thinking_may_be_left_empty(client: anthropic.Anthropic) -> None:
    hidden: Any = {"type": "adaptive", "display": "omitted"}
    with client.messages.stream(**ASKED, thinking=hidden) as stream:
        told = stream.get_final_message()
    for answer in (client.messages.create(**ASKED, thinking=hidden), told):
        assert answer.content[0].type == "thinking"
        assert (answer.content[0].thinking, bool(answer.content[0].signature)) == ("", True)


def test_who_does_not_ask_for_thinking_gets_none(client: anthropic.Anthropic) -> None:
    """The template has a switch, which lengthens the prompt by an empty thinking."""
    asked = {name: value for name, value in ASKED.items() if name != "max_tokens"}
    off: Any = {"type": "disabled"}
    lengths = [client.messages.count_tokens(**asked, **more).input_tokens for more in ({}, {"thinking": off})]
    longer = client.messages.count_tokens(**asked, thinking=THINKING[0]).input_tokens
    answer = client.messages.create(**{**ASKED, "max_tokens": 8})

    assert lengths[0] == lengths[1] > longer
    assert "thinking" not in {block.type for block in answer.content}
    assert answer.usage.input_tokens == lengths[0]


def test_what_was_thought_may_be_sent_back(client: anthropic.Anthropic) -> None:
    first = client.messages.create(**ASKED, thinking=THINKING[0])
    result: Any = {"type": "tool_result", "tool_use_id": first.content[2].id, "content": "4"}  # type: ignore[union-attr]
    hidden: Any = {"type": "redacted_thinking", "data": "x"}
    history: list[Any] = [
        *ASKED["messages"],
        {"role": "assistant", "content": [hidden, *first.content]},
        {"role": "user", "content": [result]},
    ]
    again = client.messages.create(**{**ASKED, "messages": history}, thinking=THINKING[0])
    assert again.content[0].type == "thinking"


def test_a_model_that_does_not_think_answers_all_the_same(client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "tiny/chat", "messages": ASKED["messages"], "max_tokens": 8}
    plain, thinking = client.messages.create(**asked), client.messages.create(**asked, thinking=THINKING[1])
    assert plain.content == thinking.content


def test_a_kind_of_thinking_that_nobody_knows_is_named(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"thinking\.type"):
        client.messages.create(**ASKED, extra_body={"thinking": {"type": "deep"}})
