"""Models that think before they answer, by OpenAI's own client and over v2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.later import Later
from tests.serving import Server
from tests.serving.scripted import SAID, THOUGHT, thinking_model

openai = Later("openai")

HELLO: list[Any] = [{"role": "user", "content": "What is two and two?"}]
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "add", "parameters": NOTHING}}]


@pytest.fixture(scope="module")
def model(server: Server) -> Iterator[str]:
    """A model that thinks, answers and calls a function, whatever it is asked; its template begins the thinking."""
    with thinking_model(server, "scripted/thinks") as model_id:
        yield model_id


def test_what_is_thought_stands_beside_the_answer(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=HELLO, tools=TOOLS)
    (choice,) = answer.choices
    message: Any = choice.message
    assert (message.content, message.reasoning_content, message.reasoning) == (SAID, THOUGHT, THOUGHT)
    assert [call.function.name for call in message.tool_calls] == ["add"]
    assert choice.finish_reason == "tool_calls"
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 3


def test_what_is_thought_is_streamed_in_deltas_of_its_own(client: openai.OpenAI, model: str) -> None:
    stream = client.chat.completions.create(
        model=model, messages=HELLO, tools=TOOLS, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    deltas: list[Any] = [chunk.choices[0].delta for chunk in chunks]
    thought = [getattr(each, "reasoning_content", None) or "" for each in deltas]
    assert "".join(thought) == "".join(getattr(each, "reasoning", None) or "" for each in deltas) == THOUGHT
    assert len([each for each in thought if each]) > 1
    assert "".join(each.content or "" for each in deltas) == SAID
    assert last.usage is not None
    assert last.usage.completion_tokens_details is not None
    assert last.usage.completion_tokens_details.reasoning_tokens == 3


def test_what_was_thought_may_be_sent_back(client: openai.OpenAI, model: str) -> None:
    first = client.chat.completions.create(model=model, messages=HELLO).choices[0].message
    again = client.chat.completions.create(model=model, messages=[*HELLO, first.model_dump(exclude_none=True), *HELLO])
    assert again.choices[0].message.content == first.content


def test_a_form_holds_the_answer_behind_the_thinking(client: openai.OpenAI, model: str) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [3, 4]}}, "required": ["n"], "additionalProperties": False}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    (choice,) = client.chat.completions.create(model=model, messages=HELLO, response_format=wanted).choices
    message: Any = choice.message
    assert message.reasoning_content == THOUGHT
    assert json.loads(message.content)["n"] in (3, 4)
    called: Any = client.chat.completions.create(
        model=model, messages=HELLO, tools=TOOLS, tool_choice="required", parallel_tool_calls=False
    ).choices[0]
    assert called.message.reasoning_content == THOUGHT
    assert called.message.tool_calls[0].function.name == "add"


def test_likelihoods_are_those_of_the_answers_tokens(client: openai.OpenAI, model: str) -> None:
    (choice,) = client.chat.completions.create(model=model, messages=HELLO, logprobs=True, max_tokens=5).choices
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(each.token for each in choice.logprobs.content).strip() == SAID == choice.message.content


def test_a_template_is_told_not_to_think(client: openai.OpenAI, model: str) -> None:
    for given in ({"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}):
        answer = client.chat.completions.create(model=model, messages=HELLO, extra_body=given)
        assert not hasattr(answer.choices[0].message, "reasoning_content")
        assert answer.usage is not None
        assert answer.usage.completion_tokens_details is None


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"reasoning_effort": "plenty"}, "reasoning_effort"),
        ({"chat_template_kwargs": {"style": 1}}, "chat_template_kwargs.style"),
        ({"chat_template_kwargs": "loud"}, "chat_template_kwargs"),
    ],
)
def test_what_the_template_does_not_read_is_refused(
    client: openai.OpenAI, model: str, given: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=model, messages=HELLO, extra_body=given)
    assert refused.value.param == param


def test_v2_shows_it_beside_the_content_and_streams_the_answer_alone(server: Server, model: str) -> None:
    whole = server.run(model, messages=HELLO)
    assert (whole["content"].split("<")[0], whole["reasoning_content"]) == (SAID, THOUGHT)
    streamed = server.client.post(f"/models/v2/{model}", json={"messages": HELLO, "stream": True})
    assert streamed.text == whole["content"]
