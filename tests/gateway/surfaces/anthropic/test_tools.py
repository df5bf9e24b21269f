"""Functions that models call, and answers in JSON, by Anthropic's own client."""

from __future__ import annotations

from typing import Any, Literal

import jsonschema
import pydantic
import pytest

from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server

anthropic = Later("anthropic")

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "How warm is it in Paris?"}], "max_tokens": 400}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"name": "get_weather", "description": "Now.", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}},
    {"type": "custom", "name": "get_time", "input_schema": {"type": "object"}},
]
CALLS = [("get_weather", {"city": "Paris"}), ("get_time", {})]


def calls_of(message: Any) -> list[tuple[str, Any]]:
    return [(block.name, block.input) for block in message.content if block.type == "tool_use"]


def texts_of(message: Any) -> list[str]:
    return [block.text for block in message.content if block.type == "text"]


def test_calls_are_blocks_of_their_own_behind_what_is_said(client: anthropic.Anthropic, agent: str) -> None:
    answer = client.messages.create(model=agent, **ASKED, tools=TOOLS)

    assert [block.type for block in answer.content] == ["text", "tool_use", "tool_use"]
    assert (texts_of(answer), calls_of(answer)) == (["Let me look."], CALLS)
    assert answer.stop_reason == "tool_use"
    assert len({block.id for block in answer.content if block.type == "tool_use"}) == 2


def test_streamed_calls_put_together_are_the_calls(client: anthropic.Anthropic, agent: str) -> None:
    events = list(client.messages.create(model=agent, **ASKED, tools=TOOLS, stream=True))
    with client.messages.stream(model=agent, **ASKED, tools=TOOLS) as stream:
        final = stream.get_final_message()

    assert (texts_of(final), calls_of(final), final.stop_reason) == (["Let me look."], CALLS, "tool_use")
    shown = [(each.type, getattr(each, "index", None)) for each in events if each.type != "content_block_delta"]
    assert shown == [
        ("message_start", None),
        *((kind, at) for at in range(3) for kind in ("content_block_start", "content_block_stop")),
        ("message_delta", None),
        ("message_stop", None),
    ]
    deltas = [each for each in events if each.type == "content_block_delta" and each.delta.type == "input_json_delta"]
    assert [(each.index, each.delta.partial_json) for each in deltas] == [
        (1, '{"city": "Paris"'),
        (1, "}"),
        (2, "{}"),
    ]


def test_who_says_nothing_but_a_call_has_no_block_of_text(client: anthropic.Anthropic, caller: str) -> None:
    whole = client.messages.create(model=caller, **ASKED, tools=TOOLS)
    events = list(client.messages.create(model=caller, **ASKED, tools=TOOLS, stream=True))

    assert [block.type for block in whole.content] == ["tool_use"]
    starts = [each for each in events if each.type == "content_block_start"]
    assert [(each.index, each.content_block.type) for each in starts] == [(0, "tool_use")]
    assert events[0].type == "message_start"
    assert events[0].message.usage.input_tokens == whole.usage.input_tokens > 0


def test_a_call_that_the_limit_cuts_is_none_and_the_reason_says_so(client: anthropic.Anthropic, agent: str) -> None:
    cut: dict[str, Any] = {**ASKED, "model": agent, "tools": TOOLS, "max_tokens": 4}
    with client.messages.stream(**cut) as stream:
        told = stream.get_final_message()
    for answer in (client.messages.create(**cut), told):
        assert (answer.stop_reason, [block.type for block in answer.content]) == ("max_tokens", ["text"])


def test_a_call_that_is_demanded_fits_its_schema(client: anthropic.Anthropic, agent: str) -> None:
    asked: dict[str, Any] = {**ASKED, "model": agent, "tools": TOOLS, "extra_body": {"temperature": 1.0}}
    for choice in ({"type": "any"}, {"type": "any", "disable_parallel_tool_use": True},
                   {"type": "tool", "name": "get_weather"}):  # fmt: skip
        answer = client.messages.create(**asked, tool_choice=choice)
        assert (answer.stop_reason, texts_of(answer)) == ("tool_use", [])
        for name, arguments in calls_of(answer):
            jsonschema.validate(arguments, SCHEMA if name == "get_weather" else {"type": "object"})
            assert name == choice.get("name", name)
        assert len(calls_of(answer)) == 1 or choice == {"type": "any"}


def test_where_one_call_is_wanted_the_others_are_left_out(client: anthropic.Anthropic, agent: str) -> None:
    asked: dict[str, Any] = {**ASKED, "model": agent, "tools": TOOLS}
    choice: Any = {"type": "auto", "disable_parallel_tool_use": True}
    with client.messages.stream(**asked, tool_choice=choice) as stream:
        told = stream.get_final_message()
    assert calls_of(client.messages.create(**asked, tool_choice=choice)) == calls_of(told) == CALLS[:1]


def test_a_model_is_not_told_of_tools_that_it_may_not_call(client: anthropic.Anthropic, agent: str) -> None:
    counted = [
        client.messages.count_tokens(model=agent, messages=ASKED["messages"], **more).input_tokens
        for more in ({}, {"tools": TOOLS, "tool_choice": {"type": "none"}}, {"tools": TOOLS})
    ]
    told = client.messages.create(model=agent, **ASKED, tools=TOOLS)
    assert counted[0] == counted[1] < counted[2] == told.usage.input_tokens


def get_weather(city: str) -> str:
    """Now.

    Args:
        city: Where.
    """
    return f"21 degrees in {city}"


def get_time() -> str:
    """Now."""
    raise ValueError("no clock")


@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_own_loop_runs_tools_until_there_is_an_answer(
    client: anthropic.Anthropic, agent: str, stream: bool
) -> None:
    tools = [anthropic.beta_tool(each) for each in (get_weather, get_time)]
    runner = client.beta.messages.tool_runner(model=agent, **ASKED, tools=tools, stream=stream)
    answers = [each.get_final_message() for each in runner] if stream else list(runner)  # type: ignore[union-attr]

    assert [answer.stop_reason for answer in answers] == ["tool_use", "end_turn"]
    assert texts_of(answers[-1]) == ["It is warm."]
    assert answers[1].usage.input_tokens > answers[0].usage.input_tokens


async def test_the_asynchronous_client_calls_too(server: Server, agent: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key=KEY, timeout=REQUEST_S) as client:
        answer = await client.messages.create(model=agent, **ASKED, tools=TOOLS)
        async with client.messages.stream(model=agent, **ASKED, tools=TOOLS) as stream:
            told = await stream.get_final_message()
    assert calls_of(answer) == calls_of(told) == CALLS


class Person(pydantic.BaseModel, extra="forbid"):
    mood: Literal["glad", "sad"]
    digit: Literal[1, 2, 3]


def test_the_clients_own_parser_gets_an_object(client: anthropic.Anthropic) -> None:
    parsed = client.messages.parse(model="tiny/chat", **ASKED, output_format=Person)
    assert isinstance(parsed.parsed_output, Person)
    older = {"output_format": {"type": "json_schema", "schema": Person.model_json_schema()}}
    (text,) = texts_of(client.messages.create(model="tiny/chat", **ASKED, extra_body=older))
    Person.model_validate_json(text)


FORM = {"format": {"type": "json_schema", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "nobody"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
        ({"tools": [{"name": "f"}]}, "tools"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "any"}, "output_config": FORM}, "output_config.format"),
        ({"output_config": {"format": {"type": "xml", "schema": {}}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"not": {}}}}}, "not"),
        ({"mcp_servers": [{"type": "url", "url": "https://example.test", "name": "a"}]}, "mcp_servers"),
        ({"compaction": {}}, "compaction"),
        ({"thread": {"type": "create"}}, "thread_unsupported_request"),
        ({"tools": TOOLS}, "tools: "),
    ],
)
def test_what_cannot_be_done_is_said_of_its_field(
    client: anthropic.Anthropic, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(model="tiny/chat", **ASKED, extra_body=asked)
    assert words in str(refused.value)


UNKEPT = {"type": "object", "properties": {"a": {"type": "array", "items": {"not": {"type": "null"}}}}}
WRONG = {"name": "wrong", "input_schema": UNKEPT}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"tools": [*TOOLS, WRONG], "tool_choice": {"type": "any"}}, "tools[2].input_schema"),
        ({"tools": [TOOLS[0], WRONG], "tool_choice": {"type": "tool", "name": "wrong"}}, "tools[1].input_schema"),
        ({"output_config": {"format": {"type": "json_schema", "schema": UNKEPT}}}, "output_config.format.schema"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_named_as_the_client_knows_it(
    client: anthropic.Anthropic, agent: str, asked: dict[str, Any], field: str
) -> None:
    for stream in (False, True):
        with pytest.raises(anthropic.BadRequestError) as refused:
            client.messages.create(model=agent, **ASKED, stream=stream, extra_body=asked)
        assert f"{field}: " in str(refused.value)
        assert "/properties/a/items: " in str(refused.value)
