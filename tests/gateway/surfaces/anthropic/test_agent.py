"""An agent that writes code, as it speaks to this API: what Claude Code sends, request by request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from tests.serving import KEY, REQUEST_S, Server

HEADERS = {
    "authorization": f"Bearer {KEY}",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14",
    "x-app": "cli",
}
CACHED = {"cache_control": {"type": "ephemeral"}}
NAMES = ("Task", "Bash", "Glob", "Grep", "Read", "Edit", "Write", "NotebookEdit", "WebFetch", "TodoWrite", "BashOutput")
NOTE = {"type": "text", "text": "<system-reminder>\nThe list of what is to be done is empty.\n</system-reminder>\n"}


def tool(name: str) -> dict[str, Any]:
    """A tool as agents describe theirs."""
    fields = {
        "command": {"type": "string", "description": f"What {name} is to do."},
        "timeout": {"type": "number", "description": "Most milliseconds."},
        "kinds": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
    }
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": fields,
              "required": ["command"], "additionalProperties": False}  # fmt: skip
    return {"name": name, "description": f"{name} of the agent.", "input_schema": schema}


TOOLS = [*map(tool, NAMES), {**tool("get_weather"), **CACHED}]


def body(model: str, billing: str, *messages: Any, **more: Any) -> dict[str, Any]:
    """A request of the agent's main loop."""
    system = [
        {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.30.{billing}; cch={billing};"},
        {"type": "text", "text": "You are an agent.", **CACHED},
        {"type": "text", "text": "Work in /home/ada/project, carefully. " * 10, **CACHED},
    ]
    return {
        "model": model, "max_tokens": 32000, "stream": True, "system": system, "tools": TOOLS, "messages": messages,
        "metadata": {"user_id": "user_1_account__session_2"},
        "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, **more,
    }  # fmt: skip


def send(server: Server, data: Mapping[str, Any], path: str = "/v1/messages") -> httpx.Response:
    answer = httpx.post(f"{server.url}{path}?beta=true", json=data, headers=HEADERS, timeout=REQUEST_S)
    assert answer.status_code == 200, answer.text
    return answer


def events_of(server: Server, data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream, each named by its type."""
    parts = [part.split("\n") for part in send(server, data).text.strip().split("\n\n")]
    events = [msgspec.json.decode(line.removeprefix("data: ")) for _, line in parts]
    assert [name.removeprefix("event: ") for name, _ in parts] == [event["type"] for event in events]
    return events


def content_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks that events add up to, as the agent sends them back."""
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_stop" and blocks[-1]["type"] == "tool_use":
            blocks[-1]["input"] = msgspec.json.decode(blocks[-1]["input"])
        elif event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
            blocks.append({**event["content_block"], "input": ""})
        elif event["type"] == "content_block_start":
            blocks.append({**event["content_block"], "text": ""} if event["content_block"]["type"] == "text" else
                          event["content_block"])  # fmt: skip
        elif event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
            blocks[event["index"]]["text"] += event["delta"]["text"]
        elif event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            blocks[event["index"]]["input"] += event["delta"]["partial_json"]
    return blocks


def test_an_agent_works_until_it_has_its_answer(server: Server, agent: str) -> None:
    user = {"role": "user", "content": [NOTE, {"type": "text", "text": "How warm is it?", **CACHED}]}
    first = events_of(server, body(agent, "a1b", user))
    said, *calls = content_of(first)

    assert (said["text"], first[-2]["delta"]["stop_reason"]) == ("Let me look.", "tool_use")
    assert calls[0]["input"] == {"city": "Paris"}
    results = [
        {"type": "tool_result", "tool_use_id": calls[0]["id"], "content": [{"type": "text", "text": "21 degrees"}]},
        {"type": "tool_result", "tool_use_id": calls[1]["id"], "content": "no clock", "is_error": True, **CACHED},
    ]
    thought = {"type": "thinking", "thinking": "I look.", "signature": "x"}
    history = [
        user,
        {"role": "assistant", "content": [thought, said, *calls]},
        {"role": "user", "content": [*results, NOTE]},
        {"role": "system", "content": "The file a.py has changed."},
    ]
    last = events_of(server, body(agent, "c2d-longer-than-before", *history))

    assert [block["text"] for block in content_of(last)] == ["It is warm."]
    assert last[-2]["delta"]["stop_reason"] == "end_turn"
    begun = [events[0]["message"]["usage"]["input_tokens"] for events in (first, last)]
    assert 0 < begun[0] < begun[1]
    counted = {name: value for name, value in body(agent, "e3f", *history).items() if name not in ("max_tokens",
               "stream")}  # fmt: skip
    length = send(server, counted, "/v1/messages/count_tokens").json()["input_tokens"]
    assert length == begun[1], "a line for billing is part of the prompt"


def test_a_conversation_longer_than_the_context_is_one_that_the_agent_can_shorten(server: Server) -> None:
    data = {**body("tiny/chat", "a1b", {"role": "user", "content": "hello " * 500}), "tools": []}
    answer = httpx.post(f"{server.url}/v1/messages", json=data, headers=HEADERS, timeout=REQUEST_S)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("prompt is too long:")
