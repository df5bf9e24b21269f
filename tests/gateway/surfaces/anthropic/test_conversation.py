"""Anthropic's messages and blocks as the conversation that a model reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from modelyard.errors import InvalidRequest
from modelyard.gateway.shapes.anthropic.messages import CountBody
from modelyard.gateway.surfaces.anthropic.conversation import conversation_of


def converted(*messages: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
    return conversation_of(msgspec.convert({"model": "tiny/chat", "messages": list(messages), **more}, CountBody))


def test_history_with_thinking_and_tools_becomes_our_messages() -> None:
    turns = converted(
        {"role": "user", "content": "What is the weather?"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sunny"}]},
            {"type": "text", "text": "and?"},
        ]},
    )  # fmt: skip
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Paris"}}}

    assert turns == [
        {"role": "user", "content": "What is the weather?"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "I look."}],
            "tool_calls": [call],
            "reasoning_content": "hm",
        },
        {"role": "tool", "tool_call_id": "t1", "name": "weather", "content": "sunny"},
        {"role": "user", "content": [{"type": "text", "text": "and?"}]},
    ]


def test_images_become_our_blocks() -> None:
    by_data = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    by_url = {"type": "image", "source": {"type": "url", "url": "https://example.test/a.png"}}

    (turn,) = converted({"role": "user", "content": [by_data, by_url]})

    assert turn["content"] == [
        {"type": "image", "base64": "aGk="},
        {"type": "image", "url": "https://example.test/a.png"},
    ]


def test_images_that_a_function_answers_with_are_the_users_and_a_failure_is_told() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "seen"}, image]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "no file", "is_error": True},
        {"type": "tool_result", "tool_use_id": "t3"},
    ]
    turns = converted({"role": "user", "content": [*results, {"type": "text", "text": "and?"}]})

    assert [turn["content"] for turn in turns[:3]] == ["seen", "Error: no file", ""]
    assert [turn["role"] for turn in turns] == ["tool", "tool", "tool", "user"]
    assert turns[3]["content"] == [{"type": "image", "base64": "aGk="}, {"type": "text", "text": "and?"}]


def test_documents_and_results_of_a_search_are_read_as_text() -> None:
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}, "title": "T"}
    blocks = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "more"}]}}
    found = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]}

    (turn,) = converted({"role": "user", "content": [plain, blocks, found]})

    assert "".join(block["text"] for block in turn["content"]) == "T\nwords\nmore\nt\ns\nfound"


def test_neighbours_of_one_role_are_one_message_and_texts_do_not_run_together() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    turns = converted(
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b\n"}, {"type": "text", "text": "c"}]},
        {"role": "assistant", "content": "d"},
        {"role": "assistant", "content": [call]},
    )

    assert [turn["role"] for turn in turns] == ["user", "assistant"]
    assert "".join(block["text"] for block in turns[0]["content"]) == "a\nb\nc"
    assert [each["function"]["name"] for each in turns[1]["tool_calls"]] == ["f"]


def test_what_the_system_says_is_first_and_later_on_the_users() -> None:
    turns = converted(
        {"role": "system", "content": "b"},
        {"role": "user", "content": "hello"},
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "assistant", "content": "hi"},
        system=[{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
    )

    assert turns[0] == {"role": "system", "content": "a\nb"}
    assert [turn["role"] for turn in turns[1:]] == ["user", "assistant"]
    assert "".join(block["text"] for block in turns[1]["content"]) == "hello\n<system>\nbe brief\n</system>"


def test_a_block_for_who_bills_the_request_is_not_read() -> None:
    """It differs with each request, and stands in front of what all of them share."""
    system = [[{"type": "text", "text": f"x-anthropic-billing-header: cc_version=2; cch={at};"},
               {"type": "text", "text": "be brief"}] for at in range(2)]  # fmt: skip
    first, second = (converted({"role": "user", "content": "hi"}, system=each) for each in system)

    assert first == second
    assert first[0] == {"role": "system", "content": "be brief"}
    assert converted({"role": "user", "content": "hi"}, system=system[0][:1]) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"type": "text", "text": 1}, "messages[0].content[0].text"),
        ({"type": "document", "source": {"type": "base64", "data": "aGk="}}, "messages[0].content[0].source"),
        ({"type": "tool_use", "id": "t", "name": "f", "input": []}, "messages[0].content[0].input"),
        ({"type": "tool_result", "content": [{"type": "video"}]}, "messages[0].content[0].content[0].type"),
        ({"type": "tool_result", "content": 1}, "messages[0].content[0].content"),
        ({"type": "container_upload"}, "messages[0].content[0].type"),
    ],
)
def test_a_block_that_cannot_be_read_is_named(block: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        converted({"role": "user", "content": [block]})
    assert refused.value.data["field"] == field
