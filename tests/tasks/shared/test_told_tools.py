from __future__ import annotations

from typing import Any

from modelyard.tasks.shared.told_tools import tell_tools

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Jetzt, überall."}},
    {"name": "get_time"},
]


def test_functions_stand_behind_what_the_user_said_last() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
    ]
    told = tell_tools(messages, TOOLS)

    assert [each["role"] for each in told] == ["system", "user", "assistant"]
    assert (told[0], told[2]) == (messages[0], messages[2])
    lines = told[1]["content"].split("\n")
    assert lines[0] == "hello"
    assert lines[-2:] == ['{"name": "get_weather", "description": "Jetzt, überall."}', '{"name": "get_time"}']
    assert messages[1]["content"] == "hello"


def test_where_no_user_speaks_they_stand_behind_the_last_message() -> None:
    (told,) = tell_tools([{"role": "system", "content": "be brief"}], TOOLS)
    assert told["content"].startswith("be brief\n")


def test_where_contents_are_blocks_they_stand_in_one_more() -> None:
    blocks = [{"type": "image"}, {"type": "text", "text": "hello"}]
    (told,) = tell_tools([{"role": "user", "content": blocks}], TOOLS)
    (plain,) = tell_tools([{"role": "user", "content": "hello"}], TOOLS)
    assert told["content"][:2] == blocks
    assert "hello" + told["content"][2]["text"] == plain["content"]
