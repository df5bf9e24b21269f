"""`/v1/responses`, by OpenAI's own client: items, events, what is stored of them, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import jsonschema
import pydantic
import pytest

from tests.later import Later
from tests.serving import Server
from tests.serving.scripted import SAID, THOUGHT, scripted_model, thinking_model

openai = Later("openai")

MODEL = "tiny/chat"
SETTINGS: dict[str, Any] = {"temperature": 0, "max_output_tokens": 12}
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS: list[Any] = [{"type": "function", "name": "add", "parameters": NOTHING, "strict": True}]


@pytest.fixture(scope="module")
def thinker(server: Server) -> Iterator[str]:
    """A model that thinks, answers and calls a function, whatever it is asked."""
    with thinking_model(server, "scripted/responds") as model_id:
        yield model_id


def expected(server: Server, messages: list[Any]) -> str:
    """What v2 answers to the same."""
    params = {"do_sample": False, "max_new_tokens": 12}
    return str(server.run(MODEL, messages=messages, params=params)["content"])


def test_a_response_is_v2s_answer_with_its_tokens_and_why_it_ended(server: Server, client: openai.OpenAI) -> None:
    for given in ("hello", HELLO, [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]):
        response = client.responses.create(model=MODEL, input=given, **SETTINGS)
        assert response.output_text == expected(server, HELLO)
        (item,) = response.output
        assert (item.type, response.id[:5], response.object) == ("message", "resp_", "response")
        assert response.status == "incomplete"
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "max_output_tokens"
        assert response.usage is not None
        assert (response.usage.output_tokens, response.usage.input_tokens > 0) == (12, True)
        assert response.usage.total_tokens == response.usage.input_tokens + 12


def test_instructions_come_first_and_do_not_carry_over(server: Server, client: openai.OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="hello", instructions="be brief", **SETTINGS)
    told = [{"role": "system", "content": "be brief"}, *HELLO]
    assert (first.output_text, first.instructions) == (expected(server, told), "be brief")

    second = client.responses.create(model=MODEL, input="more", previous_response_id=first.id, **SETTINGS)
    said = {"role": "assistant", "content": first.output_text}
    more = {"role": "user", "content": "more"}
    assert second.output_text == expected(server, [*HELLO, said, more])
    assert second.previous_response_id == first.id

    third = client.responses.create(model=MODEL, input="hello", previous_response_id=second.id, **SETTINGS)
    answered = {"role": "assistant", "content": second.output_text}
    assert third.output_text == expected(server, [*HELLO, said, more, answered, *HELLO])


def test_what_is_stored_is_shown_listed_and_deleted(client: openai.OpenAI) -> None:
    made = client.responses.create(model=MODEL, input="hello", metadata={"a": "b"}, **SETTINGS)
    assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
    (item,) = client.responses.input_items.list(made.id).data
    assert item.to_dict()["content"] == [{"type": "input_text", "text": "hello"}]
    after = client.responses.create(model=MODEL, input="more", previous_response_id=made.id, **SETTINGS)

    client.responses.delete(made.id)
    for ask in (
        lambda: client.responses.retrieve(made.id),
        lambda: client.responses.delete(made.id),
        lambda: client.responses.create(model=MODEL, input="x", previous_response_id=made.id),
    ):
        with pytest.raises(openai.NotFoundError) as refused:
            ask()
        assert refused.value.code == "unknown_response"
    assert client.responses.retrieve(after.id).id == after.id


def test_what_is_not_to_be_stored_is_not(client: openai.OpenAI) -> None:
    made = client.responses.create(model=MODEL, input="hello", store=False, **SETTINGS)
    assert made.to_dict()["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_events_put_together_are_the_response(client: openai.OpenAI) -> None:
    whole = client.responses.create(model=MODEL, input="hello", **SETTINGS)
    events: list[Any] = list(client.responses.create(model=MODEL, input="hello", stream=True, **SETTINGS))

    assert [event.sequence_number for event in events] == list(range(len(events)))
    first, progress, *_, last = events
    assert (first.type, progress.type, last.type) == ("response.created", "response.in_progress", "response.incomplete")
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert "".join(event.delta for event in deltas) == last.response.output_text == whole.output_text
    added = next(event for event in events if event.type == "response.output_item.added")
    done = next(event for event in events if event.type == "response.output_item.done")
    assert added.item.id == done.item.id == deltas[0].item_id == last.response.output[0].id
    assert first.response.id == last.response.id
    assert client.responses.retrieve(last.response.id).output_text == whole.output_text


async def test_the_asynchronous_client_streams_the_same(async_client: openai.AsyncOpenAI) -> None:
    whole = await async_client.responses.create(model=MODEL, input="hello", **SETTINGS)
    stream = await async_client.responses.create(model=MODEL, input="hello", stream=True, **SETTINGS)
    pieces = [event.delta async for event in stream if event.type == "response.output_text.delta"]
    assert "".join(pieces) == whole.output_text


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_answer_and_calls_are_items_in_this_order(client: openai.OpenAI, thinker: str, stream: bool) -> None:
    asked: dict[str, Any] = {"model": thinker, "input": HELLO, "tools": TOOLS}
    if stream:
        with client.responses.stream(**asked) as events:
            kinds = [event.type for event in events]
            response: Any = events.get_final_response()
        assert "response.reasoning_text.delta" in kinds
        assert kinds.index("response.reasoning_text.done") < kinds.index("response.output_text.delta")
        assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 3
        assert kinds[-1] == "response.completed"
    else:
        response = client.responses.create(**asked)
    thought, said, call = response.output
    assert (thought.type, thought.content[0].text) == ("reasoning", THOUGHT)
    assert (said.type, response.output_text, said.status) == ("message", SAID, "completed")
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "add", {})
    assert response.usage.output_tokens_details.reasoning_tokens == 3
    assert response.status == "completed"

    result = {"type": "function_call_output", "call_id": call.call_id, "output": "4"}
    again: list[Any] = [*HELLO, *(item.to_dict() for item in response.output), result]
    assert client.responses.create(model=thinker, input=again, tools=TOOLS).output_text == SAID
    goes_on = client.responses.create(model=thinker, input=[result], previous_response_id=response.id, tools=TOOLS)
    assert goes_on.output_text == SAID


def test_thinking_that_the_limit_cuts_is_an_incomplete_response(client: openai.OpenAI, thinker: str) -> None:
    for stream in (False, True):
        asked: dict[str, Any] = {"model": thinker, "input": "hello", "max_output_tokens": 2}
        if stream:
            *_, last = client.responses.create(**asked, stream=True)
            response: Any = last.response
        else:
            response = client.responses.create(**asked)
        assert [item.type for item in response.output] == ["reasoning"]
        assert response.status == "incomplete"


def test_calls_are_told_as_they_are_written(client: openai.OpenAI, server: Server) -> None:
    pieces = ["Let me look.", "<tool_call>", '{"name": "add", "arguments": ', '{"a": 1', "}}", "</tool_call>", " So."]
    with scripted_model(server, "scripted/called", pieces, mark="<tool_call>") as caller:
        asked: dict[str, Any] = {"model": caller, "input": HELLO, "tools": TOOLS}
        whole = client.responses.create(**asked)
        with client.responses.stream(**asked) as events:
            told = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
            response: Any = events.get_final_response()
        assert told == ['{"a": 1', "}"]
        assert [item.type for item in response.output] == ["message", "function_call"]
        assert response.output_text == whole.output_text == "Let me look.So."
        assert [(item.name, item.arguments, item.status) for item in response.output[1:]] == [
            ("add", '{"a": 1}', "completed")
        ]
        assert [(item.id[:2], item.type) for item in whole.output] == [(i.id[:2], i.type) for i in response.output]

        *events, last = client.responses.create(**asked, max_output_tokens=4, stream=True)
        said, cut = last.response.output
        assert (said.type, cut.type, cut.arguments, cut.status) == ("message", "function_call", '{"a": 1', "incomplete")
        ended = [event.item for event in events if event.type == "response.output_item.done"]
        assert [item.id for item in ended] == [said.id, cut.id]
        assert last.type == "response.incomplete"


def test_a_call_that_is_demanded_fits_its_schema(client: openai.OpenAI, thinker: str) -> None:
    for choice in ("required", {"type": "function", "name": "add"}):
        response = client.responses.create(
            model=thinker, input="hello", tools=TOOLS, tool_choice=choice, parallel_tool_calls=False
        )
        call: Any = response.output[-1]
        assert (call.type, call.name, call.arguments) == ("function_call", "add", "{}")


def test_an_effort_is_the_templates(client: openai.OpenAI, thinker: str) -> None:
    quick = client.responses.create(model=thinker, input="hello", reasoning={"effort": "none", "summary": "auto"})
    assert [item.type for item in quick.output] == ["message"]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=thinker, input="hello", reasoning={"effort": "high"})
    assert refused.value.param == "reasoning.effort"


class Person(pydantic.BaseModel):
    mood: Literal["glad", "sad"]
    digits: list[Literal[1, 2, 3]] = pydantic.Field(max_length=3)


def test_the_clients_own_parser_gets_an_object(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": MODEL, "input": "hello", "text_format": Person, "max_output_tokens": 200}
    assert isinstance(client.responses.parse(**asked).output_parsed, Person)
    with client.responses.stream(**asked) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Person)
    schema = {**Person.model_json_schema(), "additionalProperties": False}
    form: Any = {"format": {"type": "json_schema", "name": "person", "schema": schema}}
    held = client.responses.create(model=MODEL, input="hello", text=form, max_output_tokens=200)
    jsonschema.validate(json.loads(held.output_text), schema)


def test_likelihoods_are_told_where_they_are_included(client: openai.OpenAI) -> None:
    response: Any = client.responses.create(
        model=MODEL, input="hello", include=["message.output_text.logprobs"], top_logprobs=2, **SETTINGS
    )
    told = response.output[0].content[0].logprobs
    assert len(told) == response.usage.output_tokens
    assert all(len(each.top_logprobs) == 2 for each in told)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "judge", "content": "x"}]}, "input[0].role"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {"not": {}}}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": 5}, "text"),
        ({"tools": [{**TOOLS[0], "parameters": {"not": {}}}], "tool_choice": "required"}, "tools[0].parameters"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"truncation": "auto"}, "truncation"),
        ({"background": True}, "background"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"num_return_sequences": 2}, "num_return_sequences"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_what_is_wrong_or_cannot_be_done_is_named(client: openai.OpenAI, wrong: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(**{"model": MODEL, "input": "hello", "stream": stream, "extra_body": wrong})
        assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
