"""From Anthropic's messages to the conversation of the unified body. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelyard.gateway.shapes.anthropic.messages import AnthropicMessage, CountBody
from modelyard.gateway.surfaces.anthropic.blocks import (
    Block,
    Said,
    call_of,
    read_block,
    read_result,
    text_of,
    texts_in,
)

Turn = dict[str, Any]
BILLING = "x-anthropic-billing-header:"
"""A block of the system's words that begins so is for who bills the request, and differs with each: an agent puts it
first. No model is to read it, and what all of a conversation's requests begin with must not change."""


def conversation_of(body: CountBody) -> list[Turn]:
    """The messages, the system's words first, neighbours of one role as one. Raises InvalidRequest."""
    names = names_of_calls(body.messages)
    said = [turn for at, each in enumerate(body.messages) for turn in turns_of(each, f"messages[{at}].content", names)]
    begin = next((at for at, turn in enumerate(said) if turn["role"] != "system"), len(said))
    first = [*system_texts(body.system), *(str(turn["content"]) for turn in said[:begin])]
    system = [{"role": "system", "content": "\n".join(first)}] if first else []
    return [*system, *merged(as_user(turn) for turn in said[begin:])]


def system_texts(system: str | Sequence[Block] | None) -> list[str]:
    """What the model is told first. Raises InvalidRequest."""
    if system is None:
        return []
    return [text for text in texts_in(system, "system") if not text.startswith(BILLING)]


def names_of_calls(messages: Sequence[AnthropicMessage]) -> Mapping[str, str]:
    """The functions that were called, by the ids of the calls."""
    blocks = [block for each in messages if not isinstance(each.content, str) for block in each.content]
    return {str(each.get("id")): str(each.get("name")) for each in blocks if each.get("type") == "tool_use"}


def turns_of(message: AnthropicMessage, where: str, names: Mapping[str, str]) -> Iterator[Turn]:
    """One message as ours: the results of tools are messages of their own, in front of what else it says, which the
    images in them belong to. `names`: see `names_of_calls`. Raises InvalidRequest."""
    if message.role == "system":
        yield {"role": "system", "content": text_of(message.content, where)}
        return
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
        return
    calls: list[Turn] = []
    thoughts: list[str] = []
    said = Said()
    for at, block in enumerate(message.content):
        place = f"{where}[{at}]"
        match block.get("type"):
            case "tool_result":
                id = str(block.get("tool_use_id"))
                text, images = read_result(block, place)
                name = {"name": names[id]} if id in names else {}
                yield {"role": "tool", "tool_call_id": id, **name, "content": text}
                said.add(images)
            case "tool_use":
                calls.append(call_of(block, place))
            case "thinking":
                thoughts.append(str(block.get("thinking") or ""))
            case "redacted_thinking":
                continue  # nobody here can read it
            case _:
                said.add(read_block(block, place))
    thought = "\n".join(filter(None, thoughts))
    turn: Turn = {"role": message.role, "content": said.blocks or None if calls or thought else said.blocks}
    turn |= {"tool_calls": calls} if calls else {}
    turn |= {"reasoning_content": thought} if thought else {}
    if said.blocks or calls or thought or not message.content:
        yield turn


def as_user(turn: Turn) -> Turn:
    """What the system says later on, as the user's words: most templates have no place for it, many refuse it."""
    if turn["role"] != "system":
        return turn
    return {"role": "user", "content": f"<system>\n{turn['content']}\n</system>"}


def merged(turns: Iterator[Turn]) -> list[Turn]:
    """The turns, neighbours of the user's, or of the assistant's, as one: many templates refuse two in a row."""
    whole: list[Turn] = []
    for turn in turns:
        last = whole[-1] if whole else None
        if last is None or last["role"] != turn["role"] or turn["role"] == "tool":
            whole.append(turn)
            continue
        said = Said()
        for content in (last["content"], turn["content"]):
            said.add([{"type": "text", "text": content}] if isinstance(content, str) else content or [])
        calls = [*last.get("tool_calls", ()), *turn.get("tool_calls", ())]
        thought = "\n".join(each["reasoning_content"] for each in (last, turn) if "reasoning_content" in each)
        more = {"tool_calls": calls, "reasoning_content": thought}
        whole[-1] = {"role": turn["role"], "content": said.blocks or None, **{k: v for k, v in more.items() if v}}
    return whole
