"""From the items of a response to the conversation of the unified body, and from an answer back to items. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.shapes.openai.chat import TokenLogprob
from modelyard.gateway.shapes.openai.responses import (
    CallItem,
    Item,
    ItemStatus,
    MessageItem,
    OutputText,
    ReasoningItem,
    ThoughtPart,
)

ROLES = ("user", "assistant", "system", "developer")
TEXTS = ("input_text", "output_text", "text")
MESSAGE, CALL, THOUGHT = "msg", "fc", "rs"
"""What the names of items begin with."""


def messages_of(given: str | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages that a response was asked with. Raises InvalidRequest."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict[str, Any]] = []
    thought = ""
    for at, item in enumerate(given):
        where = f"input[{at}]"
        match item.get("type", "message"):
            case "reasoning":
                thought += thought_of(item, where)
            case "function_call":
                note_call(messages, call_of(item, where), thought)
                thought = ""
            case "function_call_output":
                messages.append(result_of(item, where))
            case "message":
                messages.append(message_of(item, where, thought))
                thought = ""
            case other:
                accepted = "message, function_call, function_call_output, reasoning"
                raise InvalidRequest(field=f"{where}.type", got=other, accepted=accepted)
    return messages


def message_of(item: Mapping[str, Any], where: str, thought: str) -> dict[str, Any]:
    """A message; of the assistant's with what it had thought before."""
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise InvalidRequest(field=f"{where}.role", got=role, accepted=", ".join(ROLES))
    said = content if isinstance(content, str) else parts_of(content, f"{where}.content")
    return {
        "role": role,
        "content": said,
        **({"reasoning_content": thought} if thought and role == "assistant" else {}),
    }


def parts_of(content: Any, where: str) -> list[dict[str, Any]]:
    """The parts of a message as the unified body has them. Raises InvalidRequest."""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise InvalidRequest(field=where, got=content, accepted="a text, or a list of parts")
    return [part_of(part, f"{where}[{at}]") for at, part in enumerate(content)]


def part_of(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """One of them."""
    match part.get("type"):
        case kind if kind in TEXTS:
            return {"type": "text", "text": part.get("text")}
        case "refusal":
            return {"type": "text", "text": part.get("refusal")}
        case "input_image" if isinstance(part.get("image_url"), str):
            return {"type": "image_url", "image_url": {"url": part["image_url"]}}
        case "input_audio" if isinstance(part.get("input_audio"), dict):
            return {"type": "input_audio", "input_audio": part["input_audio"]}
    accepted = "input_text, output_text, input_image with an image_url, input_audio"
    raise InvalidRequest(field=f"{where}.type", got=part.get("type"), accepted=accepted)


def thought_of(item: Mapping[str, Any], where: str) -> str:
    """What was thought, of an item that says so. Raises InvalidRequest."""
    parts = item.get("content") or ()
    try:
        return "".join(part["text"] for part in parts)
    except (TypeError, KeyError):
        raise InvalidRequest(field=f"{where}.content", got=parts, accepted="a list of reasoning_text") from None


def call_of(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A call of a function as a message has it. Raises InvalidRequest."""
    for name in ("call_id", "name", "arguments"):
        if not isinstance(item.get(name), str):
            raise InvalidRequest(field=f"{where}.{name}", got=item.get(name), accepted="a text")
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def note_call(messages: list[dict[str, Any]], call: dict[str, Any], thought: str) -> None:
    """Adds a call to the assistant's message before it, or as one of its own."""
    if not messages or messages[-1]["role"] != "assistant" or thought:
        messages.append({"role": "assistant", "content": None, "tool_calls": []})
        if thought:
            messages[-1]["reasoning_content"] = thought
    messages[-1] = {**messages[-1], "tool_calls": [*messages[-1].get("tool_calls", ()), call]}


def result_of(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a function has answered, as a message. Raises InvalidRequest."""
    if not isinstance(item.get("call_id"), str):
        raise InvalidRequest(field=f"{where}.call_id", got=item.get("call_id"), accepted="a text")
    output = item.get("output")
    said = output if isinstance(output, str) else parts_of(output, f"{where}.output")
    return {"role": "tool", "tool_call_id": item["call_id"], "content": said}


def name_of(kind: str, response_id: str, place: int) -> str:
    """An item's name: the same in every event and in the response."""
    return f"{kind}_{response_id.removeprefix('resp_')}{place:02d}"


def items_of(
    response_id: str,
    message: Mapping[str, Any],
    status: ItemStatus,
    logprobs: Sequence[Mapping[str, Any]] | None = None,
) -> list[Item]:
    """What an answer has, as items: what was thought, what is said, the calls. One without any has an empty message."""
    items: list[Item] = []
    if thought := message.get("reasoning_content"):
        name = name_of(THOUGHT, response_id, 0)
        items.append(ReasoningItem(id=name, content=[ThoughtPart(text=thought)], status="completed"))
    calls = message.get("tool_calls") or ()
    content = message["content"]
    said = content if isinstance(content, str) else "".join(block["text"] for block in content)
    if said or not (calls or items):
        told = msgspec.convert(logprobs or [], list[TokenLogprob])
        part = OutputText(text=said, logprobs=told)
        items.append(MessageItem(id=name_of(MESSAGE, response_id, len(items)), status=status, content=[part]))
    for call in calls:
        items.append(
            CallItem(
                id=name_of(CALL, response_id, len(items)),
                call_id=call["id"],
                name=call["function"]["name"],
                arguments=call["function"]["arguments"],
                status="completed",
            )
        )
    return items


def input_items(given: str | Sequence[Mapping[str, Any]], response_id: str) -> list[dict[str, Any]]:
    """What a response was asked with, as it is listed: each item with a name."""
    items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
    named = []
    for at, item in enumerate(items):
        whole: dict[str, Any] = {"type": "message", "id": name_of("in", response_id, at), **item}
        if whole["type"] == "message" and isinstance(whole.get("content"), str):
            kind = "output_text" if whole.get("role") == "assistant" else "input_text"
            whole["content"] = [{"type": kind, "text": whole["content"]}]
        named.append(whole)
    return named
