"""Conversations: messages as clients write them, as templates read them, and as clients read the answer.

Text-only models read plain strings as contents; the others read blocks, and their media in the order of the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.media.images import decode_image
from modelyard.media.media import Kind, Made, Media
from modelyard.media.room import Room
from modelyard.media.videos import decode_video
from modelyard.tasks.base import Call
from modelyard.tasks.body import convert
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model, TextModel
from modelyard.tasks.shared.generation import Texts, WrittenText
from modelyard.tasks.shared.lengths import media_size
from modelyard.tasks.shared.sounds import read_sound, sampling_rate
from modelyard.tasks.shared.tool_calls import ToolCall, with_read_arguments

Role = Literal["system", "developer", "user", "assistant", "tool"]

TEXT_TYPES = ("text", "input_text", "output_text")
"""Types of blocks that hold text: ours and OpenAI's, and those of OpenAI's newer API."""
SHORTEST_SOUND_S = 0.1
"""Shorter sounds get silence behind them: Qwen2-Audio takes one that fills a single token for a mark of older times."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. `content` is a string, or blocks such as {"type": "text", "text": "..."}."""

    role: Annotated[Role, Meta(description="who speaks")]
    content: Annotated[str | list[dict[str, Any]] | None, Meta(description="a string, or a list of blocks")] = None
    name: Annotated[str | None, Meta(description="the speaker's name, where the template shows it")] = None
    tool_calls: Annotated[list[dict[str, Any]] | None, Meta(description="functions the assistant called")] = None
    tool_call_id: Annotated[str | None, Meta(description="the function call that this message answers")] = None
    reasoning_content: Annotated[
        str | None, Meta(description="what the assistant had thought before it answered; the template decides about it")
    ] = None
    reasoning: Annotated[str | None, Meta(description="the same")] = None


Messages = Annotated[list[Message], Meta(min_length=1)]


class TextBlock(msgspec.Struct, frozen=True):
    """A piece of text inside a message."""

    text: Annotated[str, means("text", "the text")]
    type: Annotated[Literal["text"], Meta(description="always text")] = "text"


class AssistantMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The assistant's message."""

    content: Annotated[
        str | list[TextBlock], means("text", "the answer, in the form of the request: a string, or a list of blocks")
    ]
    role: Annotated[Literal["assistant"], Meta(description="always assistant")] = "assistant"
    tool_calls: Annotated[
        tuple[ToolCall, ...] | msgspec.UnsetType,
        Meta(description="functions that the model calls, of those offered in tools; left out when there are none"),
    ] = msgspec.UNSET
    reasoning_content: Annotated[
        str | msgspec.UnsetType,
        means(
            "thought",
            "what a model that thinks before it answers has thought; no part of content, nor of a stream; "
            "left out when it is nothing",
        ),
    ] = msgspec.UNSET
    audio: Annotated[
        Made | msgspec.UnsetType,
        means(
            "sound",
            "the answer as it is said, where a voice was asked for; left out when none was, or the answer "
            "is too short to be said",
        ),
    ] = msgspec.UNSET


ChatOutput = AssistantMessage | list[AssistantMessage]
"""The assistant's message; a list when several sequences were asked for."""


class Conversation:
    """A conversation as a template reads it, and its media in the order in which the template marks their places."""

    def __init__(self, model: Model | TextModel, kinds: Sequence[Kind] = (), frames: int = 0) -> None:
        """`kinds`: media that its model reads; with none, contents are plain strings. `frames`: shown of a video."""
        self.messages: list[dict[str, Any]] = []
        self.images: list[Any] = []
        self.sounds: list[Array] = []
        self._model = model
        self._kinds = kinds
        self._frames = frames
        self._room = Room()

    def add(self, message: Message, where: str, media: Media | None = None) -> None:
        """Adds a message, with `media` in front of its content. `developer` is the newer word for `system`.

        Raises InvalidRequest naming the block or field.
        """
        thought = message.reasoning_content or message.reasoning
        if message.content is None and not message.tool_calls and not thought:
            raise InvalidRequest(field=f"{where}.content", got=None, accepted="a string, or a list of blocks")
        fields: dict[str, Any] = msgspec.to_builtins(message)
        fields["role"] = "system" if message.role == "developer" else message.role
        fields.pop("reasoning", None)
        if thought:
            fields["reasoning_content"] = thought
        if message.tool_calls:
            fields["tool_calls"] = [with_read_arguments(call) for call in message.tool_calls]
        front = [] if media is None else self._add_media(media, self._kinds[0])
        blocks = [*front, *self._read_content(message.content or "", f"{where}.content")]
        fields["content"] = blocks if self._kinds else "".join(block["text"] for block in blocks)
        self.messages.append(fields)

    def _read_content(self, content: str | list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
        """The content as blocks."""
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        return [part for at, block in enumerate(content) for part in self._read_block(block, f"{where}[{at}]")]

    def _read_block(self, block: dict[str, Any], where: str) -> list[dict[str, Any]]:
        """A block as a template reads it: one, or one for each frame of a video."""
        kind = block.get("type", "text")
        if kind in self._kinds and "media" in block:
            return self._add_media(convert(Media, block["media"], where), kind)
        if kind not in TEXT_TYPES:
            accepted = f"text, {', '.join(self._kinds)}" if self._kinds else "text: this model reads text only"
            raise InvalidRequest(field=f"{where}.type", got=kind, accepted=accepted)
        if not isinstance(block.get("text"), str):
            raise InvalidRequest(field=f"{where}.text", got=block.get("text"), accepted="a string")
        return [{"type": "text", "text": block["text"]}]

    def _add_media(self, media: Media, kind: Kind) -> list[dict[str, Any]]:
        """Decodes media; the blocks that stand for it."""
        if kind == "audio":
            sound = read_sound(self._model, media, self._room)
            silence = max(0, int(SHORTEST_SOUND_S * sampling_rate(self._model)) - len(sound))
            self.sounds.append(np.pad(sound, (0, silence)))
            return [{"type": "audio"}]
        if kind == "image":
            self.images.append(decode_image(media, self._room))
            return [{"type": "image"}]
        from PIL.Image import fromarray  # Pillow is not imported where nothing is decoded

        images = [fromarray(frame) for frame in decode_video(media, self._frames, self._room).frames]
        self.images += images
        return [{"type": "image"}] * len(images)


def read_conversation(
    model: Model | TextModel, inputs: Any, kinds: Sequence[Kind] = (), frames: int = 0
) -> Conversation:
    """The conversation of a call's inputs, its media decoded. A text stands for one user message; the field `media`
    goes in front of the last user message. Raises InvalidRequest naming the block or field.
    """
    conversation = Conversation(model, kinds, frames)
    messages = inputs.messages or [Message("user", inputs.text or "")]
    last = max((at for at, message in enumerate(messages) if message.role == "user"), default=len(messages) - 1)
    media = getattr(inputs, "media", None)
    for at, message in enumerate(messages):
        conversation.add(message, f"messages[{at}]", media if at == last else None)
    return conversation


def answer_conversation(call: Call[Any, Any], texts: Texts) -> ChatOutput:
    """The assistant's message in the form of the last message that was sent: its content a string, or blocks."""
    (written,) = texts
    if isinstance(written, list):
        return [assistant_message(call, one) for one in written]
    return assistant_message(call, written)


def assistant_message(call: Call[Any, Any], written: WrittenText) -> AssistantMessage:
    """One answer in the form of the last message."""
    messages = call.inputs.messages
    blocks = isinstance(messages[-1].content if messages else None, list)
    content = [TextBlock(written.text)] if blocks else written.text
    return AssistantMessage(
        content=content,
        tool_calls=written.tool_calls or msgspec.UNSET,
        reasoning_content=written.thinking or msgspec.UNSET,
    )


def conversation_length(call: Call[Any, Any]) -> int:
    """Characters of the conversation and bytes of its media."""
    inputs = call.inputs
    media = getattr(inputs, "media", None)
    alone = 0 if media is None else media_size(media)
    return alone + len(inputs.text or "") + sum(message_length(message) for message in inputs.messages or ())


def message_length(message: Message) -> int:
    """Characters and bytes in one message."""
    if not isinstance(message.content, list):
        return len(message.content or "")
    return sum(
        len(str(block.get("text", ""))) + sum(len(part) for part in block.get("media", {}).values())
        for block in message.content
    )
