"""Conversations about images, sounds and videos: the tasks called ...-text-to-text are made here.

The model's own template turns the messages into its prompt, and its own processor puts the media where the template
left a mark for them. A video is shown as its frames, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.media.media import Kind, Media
from modelyard.tasks.base import Call, Head, Inputs, Sizes, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared.chat_template import answer_form, render_blocks, turn_ends
from modelyard.tasks.shared.conversation import (
    ChatOutput,
    Messages,
    answer_conversation,
    conversation_length,
    read_conversation,
)
from modelyard.tasks.shared.generation import Generation, Prompt
from modelyard.tasks.shared.media_blocks import name_media
from modelyard.tasks.shared.prompts import (
    encode_prompt,
    refuse_empty_prompt,
    refuse_long_conversation,
    refuse_streamed_list,
)
from modelyard.tasks.shared.sizes import with_a_question
from modelyard.tasks.shared.sounds import find_hearing_part
from modelyard.tasks.shared.spoken_answer import SpokenParams, speak
from modelyard.tasks.shared.tool_calls import OfferedTools


class MediaChatInputs(Inputs, frozen=True, kw_only=True):
    """A conversation with media in its blocks, or a text and one piece of media that stand for one user message."""

    messages: Annotated[
        Messages | None,
        Meta(
            description="the conversation so far, oldest first; contents are strings or blocks: "
            '{"type": "text", "text": ...}, {"type": "image", "url": ...}, {"type": "audio", "base64": ...}'
        ),
    ] = None
    text: Annotated[str | None, Meta(description="one user message, instead of messages")] = None
    media: Annotated[
        Media | None,
        Meta(description="url, image_url, audio_url, video_url or base64: goes in front of the last user message"),
    ] = None
    tools: OfferedTools = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest when there is nothing to answer."""
        if self.messages is None and self.text is None and self.media is None:
            raise InvalidRequest("messages: missing; accepted: a list of messages, or text and media", field="messages")


def no_frames(_params: Any) -> int:
    """No frames: the task shows no videos."""
    return 0


def media_chat_task(
    id: str,
    *,
    summary: str,
    inputs: type[MediaChatInputs],
    params: type[SpokenParams],
    kinds: tuple[Kind, ...],
    heads: tuple[Head, ...],
    example: tuple[str, str],
    sizes: Sizes,
    frames: Callable[[Any], int] = no_frames,
) -> Task:
    """The task of answering conversations with media of `kinds`, of which the field `media` holds the first.

    `example`: base64 of such media, and a question about it. `sizes`: the media that a benchmark asks about. `frames`:
    how many of a video are shown, by the call's params.
    """

    def prompts(model: Model, call: Call[MediaChatInputs, SpokenParams]) -> list[Prompt]:
        return [media_chat_prompt(model, call, kinds, frames(call.params))]

    def say(model: Model, calls: Sequence[Call[Any, Any]]) -> Sequence[Any | ModelyardError]:
        return [speak(generation, model, call) for call in calls]

    generation = Generation(
        prompts=prompts,
        answer=answer_conversation,
        options=media_chat_options,
        writes_alone=lambda params: params.voice is None,
        otherwise=say,
    )
    media, question = example
    blocks = [{"type": kinds[0], "base64": media}, {"type": "text", "text": question}]
    return Task(
        id=id,
        summary=summary,
        inputs=inputs,
        params=params,
        output=ChatOutput,
        run=generation.run,
        generation=generation,
        heads=heads,
        example={"messages": [{"role": "user", "content": blocks}]},
        streams=True,
        media=kinds[0],
        prepare=name_media,
        list_wildcard="messages",
        max_batch=8,
        length=conversation_length,
        sizes=with_a_question(sizes),
    )


def media_chat_prompt(model: Model, call: Call[MediaChatInputs, Any], kinds: Sequence[Kind], frames: int) -> Prompt:
    """The encoded conversation with its media: of `kinds`, and of what else the model reads. Raises InvalidRequest when
    it cannot be answered."""
    refuse_streamed_list(call)
    kinds = (*kinds, *(kind for kind in read_besides(model) if kind not in kinds))
    field = "messages" if call.inputs.messages is not None else "text"
    conversation = read_conversation(model, call.inputs, kinds, frames)
    prompt = render_blocks(model, conversation.messages, field, call.params, call.inputs.tools)
    arrays = encode_prompt(model, prompt.text, images=conversation.images, sounds=conversation.sounds)
    refuse_empty_prompt(arrays, field)
    if not model.config.get("is_encoder_decoder"):
        refuse_long_conversation(arrays["input_ids"].shape[1], model, call.params, field)
    return Prompt(arrays=arrays, offer=prompt.offer, thinking=prompt.thinking)


def read_besides(model: Model) -> list[Kind]:
    """What the parts of the model's processor read: images, sounds."""
    parts: dict[Kind, Any] = {
        "image": getattr(model.processor, "image_processor", None),
        "audio": find_hearing_part(model.processor),
    }
    return [kind for kind, part in parts.items() if part is not None]


def media_chat_options(model: Model, params: Any) -> Mapping[str, Any]:
    """What ends the assistant's turn, and that a form is the answer's, not the thinking's."""
    return {"stop_token_ids": turn_ends(model, blocks=True), **answer_form(model, params)}
