"""Messages of a conversation as clients write them, and as templates and clients read them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Model
from modelyard.tasks.shared.generation import refuse_long_prompt
from modelyard.tasks.shared.generation_params import GenerationParams

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. `content` is a string, or blocks such as {"type": "text", "text": "..."}."""

    role: Annotated[Role, Meta(description="who speaks")]
    content: Annotated[str | list[dict[str, Any]] | None, Meta(description="a string, or a list of blocks")] = None
    name: Annotated[str | None, Meta(description="the speaker's name, where the template shows it")] = None
    tool_calls: Annotated[list[dict[str, Any]] | None, Meta(description="functions the assistant called")] = None
    tool_call_id: Annotated[str | None, Meta(description="the function call that this message answers")] = None


class TextBlock(msgspec.Struct, frozen=True):
    """A piece of text inside a message."""

    text: Annotated[str, Meta(description="the text")]
    type: Annotated[Literal["text"], Meta(description="always text")] = "text"


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The assistant's message."""

    content: Annotated[
        str | list[TextBlock], Meta(description="the answer, in the form of the request: a string, or a list of blocks")
    ]
    role: Annotated[Literal["assistant"], Meta(description="always assistant")] = "assistant"


def spoken_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages with plain strings as contents. Raises InvalidRequest naming the block that is not text."""
    return [spoken_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def spoken_message(message: Message, where: str) -> dict[str, Any]:
    """One message as a template reads it; `developer` is the newer word for `system`."""
    if message.content is None and not message.tool_calls:
        raise InvalidRequest(field=f"{where}.content", got=None, accepted="a string, or a list of blocks")
    fields: dict[str, Any] = msgspec.to_builtins(message)
    fields["role"] = "system" if message.role == "developer" else message.role
    fields["content"] = spoken_content(message.content, f"{where}.content")
    return fields


def spoken_content(content: str | list[dict[str, Any]] | None, where: str) -> str:
    """The text of a message's content; blocks of text are joined."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(block_text(block, f"{where}[{index}]") for index, block in enumerate(content))


def block_text(block: dict[str, Any], where: str) -> str:
    """A block's text. Both `text` (ours, OpenAI's) and `input_text`, `output_text` (OpenAI's newer API) are text."""
    kind = block.get("type", "text")
    if kind not in ("text", "input_text", "output_text"):
        raise InvalidRequest(field=f"{where}.type", got=kind, accepted="text: this model reads text only")
    text = block.get("text")
    if not isinstance(text, str):
        raise InvalidRequest(field=f"{where}.text", got=text, accepted="a string")
    return text


def mirror(text: str, messages: Sequence[Message] | None) -> str | list[TextBlock]:
    """The answer in the form of the last message that was asked: a string, or blocks."""
    asked = messages[-1].content if messages else None
    return [TextBlock(text)] if isinstance(asked, list) else text


def refuse_long_conversation(tokens: int, model: Model, params: GenerationParams, field: str) -> None:
    """Raises InvalidRequest when the conversation leaves the model no room to answer, or is empty."""
    if not tokens:
        raise InvalidRequest(field=field, got="", accepted="a conversation that is not empty")
    refuse_long_prompt(tokens, model, params, field)
