"""Functions that models call, and answers in JSON, by OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import jsonschema
import pydantic
import pytest

from tests.builders.schemas import draw_schema
from tests.gateway.surfaces.openai.tool_sets import check_calls
from tests.later import Later
from tests.serving import Server
from tests.serving.scripted import scripted_model

openai = Later("openai")

HELLO: list[Any] = [{"role": "user", "content": "How warm is it in Paris?"}]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Now.", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "get_time"}},
]
CALL = ["<tool_call>", '{"name": "get_weather", ', '"arguments": ', '{"city": "Paris"', "}}", "</tool_call>"]
LAST = ["\n<tool_call>", '{"name": "get_time", "arguments": {}}', "</tool_call>\n"]


@pytest.fixture(scope="module")
def model(server: Server) -> Iterator[str]:
    """A model that says something and calls two functions, whatever it is asked."""
    pieces = ["Let me look.", *CALL, *LAST]
    with scripted_model(server, "scripted/calls", pieces, mark="<tool_call>") as model_id:
        yield model_id


def plain(calls: Any) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


def test_calls_are_told_from_what_is_said(client: openai.OpenAI, model: str) -> None:
    (choice,) = client.chat.completions.create(model=model, messages=HELLO, tools=TOOLS).choices
    assert choice.message.content == "Let me look."
    assert choice.message.tool_calls is not None
    assert plain(choice.message.tool_calls) == [("get_weather", {"city": "Paris"}), ("get_time", {})]
    assert choice.finish_reason == "tool_calls"


def test_streamed_calls_put_together_are_the_calls(client: openai.OpenAI, model: str) -> None:
    deltas = [
        call
        for chunk in client.chat.completions.create(model=model, messages=HELLO, tools=TOOLS, stream=True)
        for call in chunk.choices[0].delta.tool_calls or ()
    ]
    assert [each.index for each in deltas] == [0, 0, 0, 1, 1]
    assert [bool(each.id) and each.type == "function" for each in deltas] == [True, False, False, True, False]
    # as the model writes them
    assert [each.function.arguments for each in deltas] == ["", '{"city": "Paris"', "}", "", "{}"]
    with client.chat.completions.stream(model=model, messages=HELLO, tools=TOOLS) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.message.content == "Let me look."
    assert choice.message.tool_calls is not None
    assert plain(choice.message.tool_calls) == [("get_weather", {"city": "Paris"}), ("get_time", {})]
    assert choice.finish_reason == "tool_calls"


def test_a_call_that_the_limit_cuts_is_none_and_the_reason_says_so(client: openai.OpenAI, model: str) -> None:
    for stream in (False, True):
        asked: dict[str, Any] = {"model": model, "messages": HELLO, "tools": TOOLS, "max_tokens": 5}
        if stream:
            *told, last = client.chat.completions.create(**asked, stream=True)
            assert last.choices[0].finish_reason == "length"
            (*_, call) = [call for chunk in told for call in chunk.choices[0].delta.tool_calls or ()]
            assert call.function.arguments == '{"city": "Paris"'  # as far as it was written
        else:
            (choice,) = client.chat.completions.create(**asked).choices
            assert (choice.finish_reason, choice.message.tool_calls) == ("length", None)


def test_a_call_that_is_demanded_fits_its_schema(client: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "messages": HELLO, "tools": TOOLS, "max_tokens": 400, "temperature": 1.0}
    for seed in range(3):
        (choice,) = client.chat.completions.create(**asked, tool_choice="required", seed=seed).choices
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
        for name, arguments in plain(choice.message.tool_calls):
            if name == "get_weather":
                jsonschema.validate(arguments, PARAMETERS)
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    (choice,) = client.chat.completions.create(**asked, tool_choice=named, seed=7).choices
    ((name, arguments),) = plain(choice.message.tool_calls)
    assert (name, choice.finish_reason) == ("get_weather", "tool_calls")
    jsonschema.validate(arguments, PARAMETERS)
    with client.chat.completions.stream(**asked, tool_choice=named, seed=7) as stream:
        assert plain(stream.get_final_completion().choices[0].message.tool_calls) == [(name, arguments)]


class Place(pydantic.BaseModel, extra="forbid"):
    name: Literal["Paris", "Rome"]
    near: Place | None = None


class Trip(pydantic.BaseModel, extra="forbid"):
    """Where to."""

    by: Literal["train", "foot"]
    to: Place


def test_arguments_may_refer_to_their_own_definitions(client: openai.OpenAI, model: str) -> None:
    tool = openai.pydantic_function_tool(Trip, name="go")
    tool["function"]["parameters"] = Trip.model_json_schema()
    named: Any = {"type": "function", "function": {"name": "go"}}
    other: Any = {"type": "function", "function": {"name": "stay", "parameters": Place.model_json_schema()}}
    choices: list[Any] = [named, "required"]
    for choice in choices:
        (answer,) = client.chat.completions.create(
            model=model, messages=HELLO, tools=[tool, other], tool_choice=choice, max_tokens=800, temperature=0
        ).choices
        for name, arguments in plain(answer.message.tool_calls):
            (Trip if name == "go" else Place).model_validate(arguments)


@pytest.mark.parametrize("seed", range(2))
def test_demanded_calls_fit_drawn_functions_and_stream_as_they_are(
    client: openai.OpenAI, model: str, seed: int
) -> None:
    """Of random weights; of trained ones, and of many more sets, in `make verify`."""
    check_calls(client, model, seed, temperature=1.0)


def test_a_demanded_call_that_the_limit_cuts_is_none(client: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "messages": HELLO, "tools": TOOLS, "tool_choice": "required"}
    (choice,) = client.chat.completions.create(**asked, max_tokens=6).choices
    assert (choice.finish_reason, choice.message.tool_calls) == ("length", None)
    *_, last = client.chat.completions.create(**asked, max_tokens=6, stream=True)
    assert last.choices[0].finish_reason == "length"


BROKEN = {"type": "object", "properties": {"a": {"type": "array", "items": {"not": {"type": "null"}}}}}
WRONG: Any = {"type": "function", "function": {"name": "wrong", "parameters": BROKEN}}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"tools": [*TOOLS, WRONG], "tool_choice": "required"}, "tools[2].function.parameters"),
        ({"tools": [WRONG], "tool_choice": "required"}, "tools[0].function.parameters"),
        ({"tools": [*TOOLS, WRONG], "tool_choice": "required", "parallel_tool_calls": False},
         "tools[2].function.parameters"),
        ({"tools": [TOOLS[0], WRONG], "tool_choice": {"type": "function", "function": {"name": "wrong"}}},
         "tools[1].function.parameters"),
    ],
)  # fmt: skip
def test_a_function_whose_schema_cannot_be_kept_is_named(
    client: openai.OpenAI, model: str, asked: dict[str, Any], field: str
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model=model, messages=HELLO, stream=stream, **asked)
        assert refused.value.param == field
        assert field in refused.value.message
        assert "at /properties/a/items: " in refused.value.message


def test_without_a_choice_the_model_is_not_told_of_tools(client: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "messages": HELLO, "max_tokens": 30}
    free = client.chat.completions.create(**asked)
    none = client.chat.completions.create(**asked, tools=TOOLS, tool_choice="none")
    told = client.chat.completions.create(**asked, tools=TOOLS)
    assert none.choices[0].message.content == free.choices[0].message.content
    assert none.usage is not None
    assert told.usage is not None
    assert none.usage.prompt_tokens < told.usage.prompt_tokens


def test_calls_and_results_go_back_into_the_conversation(client: openai.OpenAI, model: str) -> None:
    first = client.chat.completions.create(model=model, messages=HELLO, tools=TOOLS[:1]).choices[0].message
    assert first.tool_calls is not None
    said = first.model_dump(exclude_none=True)
    said["tool_calls"] = [call for call in said["tool_calls"] if call["function"]["name"] == "get_weather"]
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "21"}
    again = client.chat.completions.create(model=model, messages=[*HELLO, said, result], tools=TOOLS)
    assert again.choices[0].message.content == "Let me look."


class Person(pydantic.BaseModel):
    mood: Literal["glad", "sad"]
    digits: list[Literal[1, 2, 3]] = pydantic.Field(max_length=3)


def test_the_clients_own_parser_gets_an_object(client: openai.OpenAI) -> None:
    for seed in range(2):
        parsed = client.chat.completions.parse(
            model="tiny/chat", messages=HELLO, response_format=Person, max_tokens=200, seed=seed, temperature=1.0
        )
        assert isinstance(parsed.choices[0].message.parsed, Person)


def test_an_answer_is_json_by_any_schema_in_a_stream_too(client: openai.OpenAI) -> None:
    for seed in range(2):
        schema = draw_schema(seed)
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        stream = client.chat.completions.create(
            model="tiny/chat", messages=HELLO, response_format=wanted, max_tokens=200, temperature=0, stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        jsonschema.validate(json.loads(text), schema)


def test_a_schema_is_kept_in_whose_words_it_comes(client: openai.OpenAI) -> None:
    """Hugging Face's client and llama.cpp's have words of their own."""
    schema = Person.model_json_schema() | {"additionalProperties": False}
    for name in ("schema", "value"):
        form: Any = {"type": "json_object", name: schema}
        (choice,) = client.chat.completions.create(
            model="tiny/chat", messages=HELLO, response_format=form, max_tokens=200, temperature=0
        ).choices
        Person.model_validate_json(str(choice.message.content))


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "text", "schema": {"type": "object"}}}, "response_format.schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {}}}}},
            "response_format",
        ),
        (
            {"tools": TOOLS, "tool_choice": "required", "response_format": {"type": "json_object"}},
            "response_format",
        ),
        ({"tools": TOOLS}, "tools"),
    ],
)
def test_what_cannot_be_done_is_said_of_its_field(client: openai.OpenAI, asked: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tiny/chat", messages=HELLO, **asked)
    assert str(refused.value.param).startswith(param)
