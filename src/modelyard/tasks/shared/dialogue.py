"""Conversations about images, sounds and videos: what the three ...-text-to-text tasks share.

The model's own template turns the messages into its prompt, and its own processor puts the media where the template
left a mark for them. A video is shown as its frames, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.media.images import decode_image
from modelyard.media.media import Kind, Media
from modelyard.media.videos import decode_video
from modelyard.tasks.base import Call, Inputs
from modelyard.tasks.body import convert, media_reference
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.conversation import ChatAnswer, Message, mirror, refuse_long_conversation, spoken_message
from modelyard.tasks.shared.generation import Prompt, refuse_streamed_list, write
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.images import attempt
from modelyard.tasks.shared.lengths import media_size
from modelyard.tasks.shared.sounds import hear, sampling_rate

DialogueOutput = ChatAnswer | list[ChatAnswer]
"""The assistant's message; a list when several sequences were asked for."""


SHORTEST_SOUND_S = 0.1
"""Shorter sounds get silence behind them: Qwen2-Audio takes one that fills a single token for a mark of older times."""


class DialogueInputs(Inputs, frozen=True, kw_only=True):
    """A conversation with media in its blocks, or a text and one piece of media that stand for one user message."""

    messages: Annotated[
        Annotated[list[Message], Meta(min_length=1)] | None,
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

    def __post_init__(self) -> None:
        """Raises InvalidRequest when there is nothing to answer."""
        if self.messages is None and self.text is None and self.media is None:
            raise InvalidRequest("messages: missing; accepted: a list of messages, or text and media", field="messages")


class DialogueParams(GenerationParams, frozen=True, kw_only=True):
    """How to answer."""


_KINDS: dict[str, Kind] = {
    "image": "image", "image_url": "image", "input_image": "image", "audio": "audio", "audio_url": "audio",
    "input_audio": "audio", "video": "video", "video_url": "video", "input_video": "video",
}  # fmt: skip
"""Block types as clients write them, ours and OpenAI's → what the block holds."""


def name_media(fields: dict[str, Any]) -> dict[str, Any]:
    """The body's fields, each media block of its messages as {"type": "image", "media": a reference}.

    Done again, it changes nothing. What is malformed in another way is left to be named by the types. Raises
    InvalidRequest for a block without media.
    """
    messages = fields.get("messages")
    if not isinstance(messages, list):
        return fields
    return {**fields, "messages": [name_in_message(message, f"messages[{at}]") for at, message in enumerate(messages)]}


def name_in_message(message: Any, where: str) -> Any:
    """The message with its media blocks named."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    blocks = [name_in_block(block, f"{where}.content[{at}]") for at, block in enumerate(content)]
    return {**message, "content": blocks}


def name_in_block(block: Any, where: str) -> Any:
    """The block with a reference to its media, when it is a block of media."""
    kind = _KINDS.get(str(block.get("type"))) if isinstance(block, dict) else None
    if kind is None or "media" in block:
        return block
    names = ("url", "base64", kind, f"{kind}_url", "input_audio", "data")
    value = next((block[name] for name in names if block.get(name) is not None), None)
    if isinstance(value, dict) and "data" in value:  # OpenAI's input_audio: {"data": ..., "format": ...}
        value = value["data"]
    return {"type": kind, "media": media_reference(value, where)}


@dataclass(slots=True)
class Scene:
    """A conversation as a template reads it, and its media in the order of their marks."""

    messages: list[dict[str, Any]]
    images: list[Any] = field(default_factory=list)
    sounds: list[Array] = field(default_factory=list)


def answer_dialogues(
    model: Model, calls: Sequence[Call[Any, Any]], kinds: Sequence[Kind], frames: int = 0
) -> list[Any]:
    """Answers each conversation; only media of `kinds` is accepted, and the field `media` holds the first of them.

    `frames`: how many of a video are shown. A stream carries the answer's text.
    """
    prompts = [attempt(prompt_of, model, call, kinds, frames) for call in calls]
    texts = write(model, prompts, left=True, stop_token_ids=turn_ends(model))
    return [answer_of(call, text) for call, text in zip(calls, texts, strict=True)]


def prompt_of(model: Model, call: Call[DialogueInputs, Any], kinds: Sequence[Kind], frames: int) -> Prompt:
    """The encoded conversation with its media. Raises InvalidRequest when it cannot be answered."""
    refuse_streamed_list(call)
    where = "messages" if call.inputs.messages is not None else "text"
    scene = stage(model, call.inputs, kinds, frames)
    prompt = render(model, scene.messages, where)
    arrays = encode(model, prompt, images=scene.images, sounds=scene.sounds)
    refuse_without_prompt(model, arrays, where)
    if not model.config.get("is_encoder_decoder"):
        refuse_long_conversation(arrays["input_ids"].shape[1], model, call.params, where)
    return Prompt(call, {}, media=arrays)


def stage(model: Model, inputs: DialogueInputs, kinds: Sequence[Kind], frames: int) -> Scene:
    """The conversation with its media decoded. Raises InvalidRequest naming the block or field."""
    scene = Scene([])
    messages = inputs.messages or [Message("user", inputs.text or "")]
    asked = max((at for at, message in enumerate(messages) if message.role == "user"), default=len(messages) - 1)
    for at, message in enumerate(messages):
        front = [] if inputs.media is None or at != asked else show(model, scene, inputs.media, kinds[0], frames)
        scene.messages.append(stage_message(model, scene, message, f"messages[{at}]", front, kinds, frames))
    return scene


def stage_message(
    model: Model,
    scene: Scene,
    message: Message,
    where: str,
    front: list[dict[str, Any]],
    kinds: Sequence[Kind],
    frames: int,
) -> dict[str, Any]:
    """One message as a template reads it: its content as blocks, `front` before them."""
    content = message.content if isinstance(message.content, list) else None
    spoken = spoken_message(msgspec.structs.replace(message, content="") if content is not None else message, where)
    blocks = list(front)
    if content is None:
        blocks.append({"type": "text", "text": spoken["content"]})
    for at, block in enumerate(content or ()):
        blocks += stage_block(model, scene, block, f"{where}.content[{at}]", kinds, frames)
    return {**spoken, "content": blocks}


def stage_block(
    model: Model, scene: Scene, block: dict[str, Any], where: str, kinds: Sequence[Kind], frames: int
) -> list[dict[str, Any]]:
    """A block as a template reads it; what it shows or plays joins the scene."""
    kind = block.get("type", "text")
    if kind in kinds and "media" in block:
        return show(model, scene, convert(Media, block["media"], where), kind, frames)
    if kind not in ("text", "input_text", "output_text"):
        raise InvalidRequest(field=f"{where}.type", got=kind, accepted=f"text, {', '.join(kinds)}")
    if not isinstance(block.get("text"), str):
        raise InvalidRequest(field=f"{where}.text", got=block.get("text"), accepted="a string")
    return [{"type": "text", "text": block["text"]}]


def show(model: Model, scene: Scene, media: Media, kind: Kind, frames: int) -> list[dict[str, Any]]:
    """Adds media to the scene. Returns the blocks that stand for it: one, or one for each frame of a video."""
    if kind == "audio":
        sound = hear(model, media)
        silence = max(0, int(SHORTEST_SOUND_S * sampling_rate(model)) - len(sound))
        scene.sounds.append(np.pad(sound, (0, silence)))
        return [{"type": "audio"}]
    if kind == "image":
        scene.images.append(decode_image(media))
        return [{"type": "image"}]
    from PIL.Image import fromarray  # Pillow is not imported where nothing is decoded

    shown = [fromarray(frame) for frame in decode_video(media, frames=frames).frames]
    scene.images += shown
    return [{"type": "image"}] * len(shown)


def template_holder(model: Model) -> Any | None:
    """What holds the model's chat template: its processor, or its tokenizer; None when neither does."""
    parts = (model.processor, model.tokenizer)
    return next((part for part in parts if getattr(part, "chat_template", None)), None)


def render(model: Model, messages: list[dict[str, Any]], where: str) -> str:
    """The prompt by the model's template; for a model without one, the text of the one message.

    Raises InvalidRequest when the template refuses the conversation, or there is none and more than one message.
    """
    holder = template_holder(model)
    if holder is None:
        if len(messages) > 1:
            raise InvalidRequest(
                f"{where}: this model has no chat template, so it can answer one message only; got {len(messages)}",
                field=where,
            )
        return "".join(block["text"] for block in messages[0]["content"] if block["type"] == "text")
    try:
        prompt: str = holder.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is the model's own program and may raise anything about these messages
        raise InvalidRequest(f"{where}: the model's chat template refuses them: {error}", field=where) from error
    return prompt


def encode(
    model: Model,
    prompt: str | None,
    *,
    images: Sequence[Any] = (),
    sounds: Sequence[Array] = (),
    limit: int | None = None,
) -> dict[str, Array]:
    """The model's arguments for a prompt and its media, a batch of one. Raises InvalidRequest.

    `images`: Pillow images. `limit`: tokens at which the prompt is cut.
    """
    given: dict[str, Any] = {"text": prompt} if prompt is not None else {}
    bos = model.tokenizer.bos_token
    if prompt is not None and bos and prompt.startswith(bos):
        given["add_special_tokens"] = False  # the template has written it already
    if limit is not None:
        given.update(truncation=True, max_length=limit)
    if images:
        given["images"] = list(images)
    if sounds:
        given.update(audio=list(sounds), sampling_rate=sampling_rate(model))
    try:
        arrays = model.processor(**given, return_tensors="np")
    except (ValueError, IndexError, TypeError, KeyError, ZeroDivisionError) as error:
        raise InvalidRequest(
            f"messages: the model's processor refuses this text with its media: {error}", field="messages"
        ) from error
    return {name: np.asarray(array) for name, array in arrays.items()}


def refuse_without_prompt(model: Model, arrays: dict[str, Array], where: str) -> None:
    """Raises InvalidRequest when nothing is left to read."""
    if "input_ids" not in arrays or not arrays["input_ids"].size:
        raise InvalidRequest(field=where, got="", accepted="a conversation that is not empty")


_MARK = "modelyard-turn"


def turn_ends(model: Model) -> tuple[int, ...]:
    """Ids that end an answer: the end token, and what the template puts behind an assistant's message."""
    tokenizer = model.tokenizer
    ends = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    holder = template_holder(model)
    if holder is None:
        return tuple(ends)
    said = [{"type": "text", "text": _MARK}]
    turn = [{"role": "user", "content": said}, {"role": "assistant", "content": said}]
    try:
        behind = holder.apply_chat_template(turn, tokenize=False).rpartition(_MARK)[2]
    except Exception:  # noqa: BLE001 - a template that refuses this conversation: `render` says so
        return tuple(ends)
    ids = tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"]
    if ids and ids[0] in tokenizer.added_tokens_decoder:
        ends.append(int(ids[0]))
    return tuple(ends)


def answer_of(call: Call[Any, Any], text: Any) -> Any:
    """The assistant's message in the form the request had; an error stays what it is."""
    if isinstance(text, list):
        return [answer_of(call, one) for one in text]
    return text if isinstance(text, ModelyardError) else ChatAnswer(content=mirror(text, call.inputs.messages))


def dialogue_length(call: Call[Any, Any]) -> int:
    """Characters of the conversation and bytes of its media."""
    inputs = call.inputs
    alone = 0 if inputs.media is None else media_size(inputs.media)
    return alone + len(inputs.text or "") + sum(message_length(message) for message in inputs.messages or ())


def message_length(message: Message) -> int:
    """Characters and bytes in one message."""
    if not isinstance(message.content, list):
        return len(message.content or "")
    return sum(
        len(str(block.get("text", ""))) + sum(len(part) for part in block.get("media", {}).values())
        for block in message.content
    )
