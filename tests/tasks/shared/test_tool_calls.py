from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from modelyard.protocol import CalledPiece
from modelyard.tasks.shared.call_formats import FORMATS, GENERIC, HELD, find_call_format
from modelyard.tasks.shared.called_text import CalledText
from modelyard.tasks.shared.tool_calls import CallFormat, Offer, ToolCall, names_of, with_read_arguments

WEATHER = ("get_weather", {"city": "Zürich {é}", "days": 2, "exact": True})
CLOCK: tuple[str, dict[str, Any]] = ("clock.now", {})
OFFERED = frozenset({"get_weather", "clock.now"})
BY_NAME = {each.name: each for each in FORMATS}
ARGUMENTS = json.dumps(WEATHER[1], ensure_ascii=False)
INDENTED = json.dumps(WEATHER[1], ensure_ascii=False, indent=2)


def as_json(call: tuple[str, dict[str, Any]], word: str = "arguments") -> str:
    return json.dumps({"name": call[0], word: call[1]}, ensure_ascii=False)


ANSWERS: list[tuple[str, str, Sequence[tuple[str, dict[str, Any]]], str]] = [
    ("hermes", f"<tool_call>\n{as_json(WEATHER)}\n</tool_call>", [WEATHER], ""),
    (
        "hermes",
        f"I look.\n<tool_call>{as_json(WEATHER)}</tool_call>\n<tool_call>\n{as_json(CLOCK)}\n</tool_call>",
        [WEATHER, CLOCK],
        "I look.\n",
    ),
    (
        "hermes",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nZürich {é}\n</parameter>\n<parameter=days>\n2\n"
        "</parameter>\n<parameter=exact>\ntrue\n</parameter>\n</function>\n</tool_call>",
        [WEATHER],
        "",
    ),
    ("llama", as_json(WEATHER, "parameters"), [WEATHER], ""),
    ("llama", f"<|python_tag|>{as_json(WEATHER, 'parameters')}; {as_json(CLOCK, 'parameters')}", [WEATHER, CLOCK], ""),
    ("llama", '[get_weather(city="Zürich {é}", days=2, exact=True), clock.now()]', [WEATHER, CLOCK], ""),
    ("mistral", f"[TOOL_CALLS] [{as_json(WEATHER)}, {as_json(CLOCK)}]", [WEATHER, CLOCK], ""),
    (
        "mistral",
        f"Well.[TOOL_CALLS]get_weather[ARGS]{ARGUMENTS}[TOOL_CALLS]clock.now[ARGS]{{}}",
        [WEATHER, CLOCK],
        "Well.",
    ),
    ("mistral", f"[TOOL_CALLS]get_weather[CALL_ID]abc123xyz[ARGS]{ARGUMENTS}", [WEATHER], ""),
    (
        "deepseek",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        f"{INDENTED}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>clock.now\n```json\n{{}}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        [WEATHER, CLOCK],
        "",
    ),
    (
        "deepseek",
        f"Hm. <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{ARGUMENTS}<｜tool▁call▁end｜>"
        "<｜tool▁calls▁end｜>",
        [WEATHER],
        "Hm. ",
    ),
    (
        "gemma",
        "<start_function_call>call:get_weather{city:<escape>Zürich {é}<escape>,days:2,exact:true}<end_function_call>",
        [WEATHER],
        "",
    ),
    (
        "gemma",
        '<|tool_call>call:get_weather{city:<|"|>Zürich {é}<|"|>,days:2,exact:true}<tool_call|>'
        "<|tool_call>call:clock.now{}<tool_call|>",
        [WEATHER, CLOCK],
        "",
    ),
    (
        "gemma",
        '<|tool_call>call:f{a:[1,{b:<|"|>x, y<|"|>}],c:null}<tool_call|>',
        [("f", {"a": [1, {"b": "x, y"}], "c": None})],
        "",
    ),
    ("generic", as_json(WEATHER), [WEATHER], ""),
    ("generic", f"```json\n[{as_json(WEATHER)},\n {as_json(CLOCK)}]\n```", [WEATHER, CLOCK], ""),
]


def tell_apart(form: CallFormat, text: str, size: int, *, is_whole: bool = True) -> tuple[str, tuple[ToolCall, ...]]:
    """The content and the calls of a text that arrives in pieces of `size` characters."""
    called = CalledText(Offer(form, OFFERED))
    pieces = [piece for at in range(0, len(text), size) for piece in called.push(text[at : at + size])]
    rest, calls = called.finish(is_whole=is_whole)
    return "".join((*(each for each in pieces if not isinstance(each, CalledPiece)), rest)), calls


def tell_calls(form: CallFormat, text: str, size: int) -> tuple[list[CalledPiece], tuple[ToolCall, ...]]:
    """What is told of calls before the text has ended, and the calls."""
    called = CalledText(Offer(form, OFFERED))
    pieces = [piece for at in range(0, len(text), size) for piece in called.push(text[at : at + size])]
    _, calls = called.finish(is_whole=True)
    return [each for each in pieces if isinstance(each, CalledPiece)], calls


def plain(calls: Sequence[ToolCall]) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


@pytest.mark.parametrize(("form", "text", "calls", "content"), ANSWERS)
def test_calls_are_told_from_content_in_whatever_pieces_the_text_arrives(
    form: str, text: str, calls: Sequence[tuple[str, dict[str, Any]]], content: str
) -> None:
    for size in (1, 2, 3, 7, len(text)):
        told, found = tell_apart(BY_NAME[form], text, size)
        assert (told, plain(found)) == (content, list(calls))
        assert len({call.id for call in found}) == len(calls)
        assert all(call.type == "function" and len(call.id) == 9 and call.id.isalnum() for call in found)


@pytest.mark.parametrize(("form", "text", "calls", "content"), ANSWERS)
def test_a_text_that_was_cut_holds_no_half_of_a_call(
    form: str, text: str, calls: Sequence[tuple[str, dict[str, Any]]], content: str
) -> None:
    for end in range(len(text)):
        told, found = tell_apart(BY_NAME[form], text[:end], 5, is_whole=False)
        assert plain(found) == list(calls)[: len(found)]
        assert text.startswith(told)
        mark = max(len(mark) for mark in BY_NAME[form].marks)
        assert BY_NAME[form].begins or len(told) < len(content) + mark


TOLD = [
    *((BY_NAME[form], text, len(calls)) for form, text, calls, _ in ANSWERS if BY_NAME[form].opens is not None),
    (HELD, as_json(WEATHER), 1),
    (HELD, f"[{as_json(WEATHER)}, {as_json(CLOCK)}]", 2),
    (BY_NAME["harmony"], f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{ARGUMENTS}", 1),
]
WRITTEN_OTHERWISE = ("<function=", "[get_weather(")
"""Answers whose calls are told when they have ended."""


@pytest.mark.parametrize(("form", "text", "count"), TOLD)
def test_calls_are_told_as_they_are_written_and_put_together_are_the_calls(
    form: CallFormat, text: str, count: int
) -> None:
    for size in (1, 3, len(text)):
        told, calls = tell_calls(form, text, size)
        if any(mark in text for mark in WRITTEN_OTHERWISE):
            assert told == []
            continue
        begun = [each for each in told if each.name]
        assert [(each.number, each.id, each.name) for each in begun] == [
            (at, call.id, call.function.name) for at, call in enumerate(calls)
        ]
        assert ["".join(each for each in told if each.number == at) for at in range(count)] == [
            call.function.arguments for call in calls
        ]
        assert size > 1 or all(len(each) == 1 for each in told)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("hermes", '<tool_call>{"name": "unknown", "arguments": {"a": 1}}</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {"a": 1}, "name": "get_weather"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "get_weather", "arguments": "{}"}</tool_call>'),
        ("generic", as_json(WEATHER)),
        ("gemma", "<start_function_call>call:clock.now{}<end_function_call>"),
    ],
)
def test_what_may_yet_be_no_call_is_not_told_before_its_end(form: str, text: str) -> None:
    assert tell_calls(BY_NAME[form], text, 1)[0] == []


def test_what_was_told_as_a_whole_call_is_one_whatever_follows() -> None:
    text = f'<tool_call>{as_json(WEATHER)}</tool_call><tool_call>{{"name": "clock.now", "arguments": {{"a" 1}}}}'
    told, calls = tell_calls(BY_NAME["hermes"], text, 4)
    assert plain(calls) == [WEATHER]
    assert {each.number for each in told} == {0, 1}
    content, found = tell_apart(BY_NAME["llama"], as_json(WEATHER, "parameters") + "; {}", 3)
    assert (content, plain(found)) == ("", [WEATHER])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize(
    "text",
    ["Plain words.", "1 < 2 and a <b> tag, [a list], {braces}", "", "  indented", "Look: {'name': 3}", "a [TOOL"],
)
def test_an_answer_that_calls_nothing_is_content(form: CallFormat, text: str) -> None:
    for size in (1, 4, 100):
        assert tell_apart(form, text, size) == (text, ())


@pytest.mark.parametrize("form", [BY_NAME["llama"], GENERIC], ids=lambda form: form.name)
@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ada", "age": 36}',
        '{"name": "unknown", "parameters": {}}',
        "[1, 2, 3]",
        '{"a": 1',
        "[print('x')]",
        "[]",
    ],
)
def test_json_that_names_no_function_offered_is_content(form: CallFormat, text: str) -> None:
    assert tell_apart(form, text, 3) == (text, ())


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("hermes", '<tool_call>{"name": "get_weather", "arguments": {"city": </tool_call>'),
        ("mistral", "[TOOL_CALLS] something else"),
        ("deepseek", "<｜tool▁calls▁begin｜>nothing<｜tool▁calls▁end｜>"),
        ("gemma", "<|tool_call>call:get_weather{city}<tool_call|>"),
    ],
)
def test_what_a_model_ended_itself_and_is_no_call_is_shown_as_it_is(form: str, text: str) -> None:
    assert tell_apart(BY_NAME[form], text, 4) == (text, ())


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ '<tool_call>' }}", "hermes"),
        ("{% if x %}[TOOL_CALLS]{% endif %}", "mistral"),
        ("<｜tool▁calls▁begin｜>", "deepseek"),
        ("<start_function_call>call:", "gemma"),
        ("<|python_tag|>", "llama"),
        ("{{ tools | tojson }}", "generic"),
    ],
)
def test_the_template_tells_the_form(template: str, name: str) -> None:
    assert find_call_format(template).name == name


def test_arguments_sent_back_are_objects_to_a_template() -> None:
    call = {"id": "abc", "type": "function", "function": {"name": "f", "arguments": '{"a": [1]}'}}
    assert with_read_arguments(call) == {**call, "function": {"name": "f", "arguments": {"a": [1]}}}
    for kept in ("no JSON", {"a": 1}, "[" * 100_000, "1" * 5_000):
        other = {"function": {"name": "f", "arguments": kept}}
        assert with_read_arguments(other) == other


def test_names_are_those_of_functions_however_they_are_described() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}, {"name": "g", "parameters": {}}]
    assert names_of(tools) == {"f", "g"}
