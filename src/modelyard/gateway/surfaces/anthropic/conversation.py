"""From Anthropic's blocks to the conversation of the unified body. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.shapes.anthropic import AnthropicMessage, CountBody

Blocks = Sequence[Mapping[str, Any]]
LEFT_OUT = ("thinking", "redacted_thinking")
"""Blocks of earlier answers that a model does not read again."""


def conversation_of(body: CountBody) -> list[dict[str, Any]]:
    """The messages, the system's words first. Raises InvalidRequest."""
    if body.thinking is not None and body.thinking.get("type") != "disabled":
        accepted = '{"type": "disabled"}: models do not think apart here'
        raise InvalidRequest(field="thinking", got=body.thinking, accepted=accepted)
    system = [] if body.system is None else [{"role": "system", "content": text_of(body.system, "system")}]
    turns = [turn for at, message in enumerate(body.messages) for turn in turns_of(message, f"messages[{at}].content")]
    return [*system, *turns]


def turns_of(message: AnthropicMessage, where: str) -> Iterator[dict[str, Any]]:
    """One message as ours: the results of tools are messages of their own, in front of what else it says."""
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
        return
    calls: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for at, block in enumerate(message.content):
        place = f"{where}[{at}]"
        match block.get("type"):
            case "tool_result":
                content = text_of(block.get("content") or "", f"{place}.content")
                yield {"role": "tool", "tool_call_id": str(block.get("tool_use_id")), "content": content}
            case "tool_use":
                calls.append(call_of(block))
            case kind if kind in LEFT_OUT:
                continue
            case _:
                said.append(block_of(block, place))
    if calls:
        yield {"role": message.role, "content": said or None, "tool_calls": calls}
    elif said or not message.content:
        yield {"role": message.role, "content": said}


def call_of(block: Mapping[str, Any]) -> dict[str, Any]:
    """A call of a tool as templates read it."""
    function = {"name": str(block.get("name")), "arguments": block.get("input") or {}}
    return {"id": str(block.get("id")), "type": "function", "function": function}


def block_of(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A block of text, or of media. Raises InvalidRequest."""
    source = block.get("source")
    match block.get("type"):
        case "text":
            return {"type": "text", "text": block.get("text")}
        case "image" if isinstance(source, dict) and source.get("type") == "base64":
            return {"type": "image", "base64": source.get("data")}
        case "image" if isinstance(source, dict) and source.get("type") == "url":
            return {"type": "image", "url": source.get("url")}
        case "document" if isinstance(source, dict) and source.get("type") == "text":
            return {"type": "text", "text": source.get("data")}
    accepted = "text, image (of base64 or a url), document (of text), tool_use, tool_result, thinking"
    raise InvalidRequest(field=f"{where}.type", got=block.get("type"), accepted=accepted)


def text_of(content: Any, where: str) -> str:
    """A text, or blocks of text as one. Raises InvalidRequest."""
    if isinstance(content, str):
        return content
    try:
        blocks = msgspec.convert(content, list[dict[str, Any]])
    except msgspec.ValidationError:
        raise InvalidRequest(field=where, got=content, accepted="a text, or blocks of text") from None
    for at, block in enumerate(blocks):
        if block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise InvalidRequest(field=f"{where}[{at}]", got=block, accepted='{"type": "text", "text": "..."}')
    return "\n".join(str(block["text"]) for block in blocks)
