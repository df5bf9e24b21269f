"""What `/v1/chat/completions` reads and answers. Only describes: `surfaces.openai.chat` speaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from modelyard.gateway.shapes.base import described
from modelyard.gateway.shapes.inference import SCHEMAS
from modelyard.gateway.shapes.openai.base import CompletionUsage, OpenAIShape, StreamOptions
from modelyard.gateway.shapes.openai.tools import CalledTool, NamedTool, ResponseFormat, Tool
from modelyard.gateway.shapes.openai.writing import WritingBody


class SpokenAs(OpenAIShape, frozen=True, kw_only=True):
    """How an answer is said."""

    voice: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200)],
        described("The voice: one of the model's, or one of OpenAI's, which stands for the model's first."),
    ]
    format: Annotated[
        Literal["wav", "mp3", "flac", "opus", "aac", "pcm16"], described("Of the sound; pcm16: 24 kHz, little-endian.")
    ] = "wav"


class ChatBody(WritingBody, frozen=True, kw_only=True):
    """A conversation to answer."""

    messages: Annotated[
        list[Any],
        Meta(min_length=1),
        described(
            "The conversation so far, oldest first. Contents are texts, or lists of parts: text, image_url, "
            "input_audio, video_url.",
            accepted="a list of messages that is not empty",
            items={"$ref": SCHEMAS + "Message"},
        ),
    ]
    max_completion_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        described("Most tokens to make; without it as many as the model's settings say, or 256."),
    ] = None
    response_format: Annotated[ResponseFormat | None, described("In what form the answer is wanted.")] = None
    tools: Annotated[
        list[Tool] | None,
        described("Functions that the model may call, where its chat template knows them.", accepted="a list of tools"),
    ] = None
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | NamedTool | None,
        described(
            "auto: the model calls or answers; none: it is not told of the tools; required: it calls at least one; a "
            "tool: it calls that one. A call that is demanded always fits its function's schema.",
            accepted='"none", "auto", "required", or {"type": "function", "function": {"name": ...}}',
        ),
    ] = None
    parallel_tool_calls: Annotated[
        bool | None, described("False: one call where tool_choice demands one; elsewhere the model decides.")
    ] = None
    logprobs: Annotated[
        bool | None, described("Say how likely each token was, where the model is a causal one on torch.")
    ] = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=20)] | None,
        described("With logprobs: so many of the likeliest tokens at each place.", accepted="0 to 20"),
    ] = None
    reasoning_effort: Annotated[
        Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None,
        described("How long the model thinks before it answers, where its chat template reads that; none: not at all."),
    ] = None
    verbosity: Annotated[Literal["medium"] | None, described("medium: as the model writes.", accepted="medium")] = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None,
        described(
            'Variables of the model\'s chat template, of those that it reads: {"enable_thinking": false}.',
            accepted="an object",
        ),
    ] = None
    modalities: Annotated[
        list[Literal["text", "audio"]] | None,
        described(
            '["text"]: answers are texts. ["text", "audio"]: they are said as well, on models that speak, in the voice '
            "that audio names.",
            accepted='["text"], or ["text", "audio"]',
        ),
    ] = None
    audio: Annotated[
        SpokenAs | None,
        described("Beside modalities with audio: how the answer is said.", accepted='{"voice": ..., "format": "wav"}'),
    ] = None


class TokenAlternative(OpenAIShape, frozen=True, kw_only=True):
    """A token, and how likely it was at its place."""

    token: Annotated[str, described("Its text.")]
    logprob: Annotated[float, described("The natural logarithm of its likelihood, before settings changed it.")]
    bytes: Annotated[list[int] | None, described("The text in UTF-8; null for a part of a character.")]


class TokenLogprob(TokenAlternative, frozen=True, kw_only=True):
    """A token of the answer."""

    top_logprobs: Annotated[list[TokenAlternative], described("The likeliest at its place, best first.")]


class ChoiceLogprobs(OpenAIShape, frozen=True, kw_only=True):
    """How likely the tokens of an answer were."""

    content: Annotated[list[TokenLogprob], described("Each token, in order.")]
    refusal: Annotated[None, described("Always null.")] = None


class ChatAudio(OpenAIShape, frozen=True, kw_only=True):
    """An answer as it is said."""

    id: Annotated[str, described("Names it; it is not kept, so that later messages have its text alone.")]
    data: Annotated[bytes, described("The sound, in base64.")]
    expires_at: Annotated[int, described("Seconds since 1970: at once.")]
    transcript: Annotated[str, described("What is said.")]


class ChatMessage(OpenAIShape, frozen=True, kw_only=True):
    """The assistant's message."""

    role: Annotated[Literal["assistant"], described("Always assistant.")] = "assistant"
    content: Annotated[str | None, described("What it says; null where it only calls functions.")]
    reasoning_content: Annotated[
        str | UnsetType, described("What it thought before it answered, if it did; may be sent back.")
    ] = UNSET
    reasoning: Annotated[str | UnsetType, described("The same.")] = UNSET
    tool_calls: Annotated[Sequence[CalledTool] | UnsetType, described("The functions that it calls, if any.")] = UNSET
    audio: Annotated[ChatAudio | UnsetType, described("The answer as it is said, where that was asked for.")] = UNSET
    refusal: Annotated[None, described("Always null.")] = None


class ChatChoice(OpenAIShape, frozen=True, kw_only=True):
    """One answer."""

    index: Annotated[int, described("From 0.")]
    message: Annotated[ChatMessage, described("The assistant's message.")]
    logprobs: Annotated[ChoiceLogprobs | None, described("With logprobs: how likely its tokens were; else null.")] = (
        None
    )
    finish_reason: Annotated[str, described("stop, length where the most tokens were reached, or tool_calls.")]


class ChatCompletion(OpenAIShape, frozen=True, kw_only=True):
    """The answer to a conversation."""

    id: Annotated[str, described("Names the request, as x-request-id does.")]
    object: Annotated[Literal["chat.completion"], described("What this is.")] = "chat.completion"
    created: Annotated[int, described("Seconds since 1970.")]
    model: Annotated[str, described("The model, as it was asked for.")]
    choices: Annotated[Sequence[ChatChoice], described("The answers.")]
    usage: Annotated[CompletionUsage, described("What it took.")]


class ChatDelta(OpenAIShape, frozen=True, kw_only=True):
    """What an event adds to the assistant's message."""

    role: Annotated[Literal["assistant"] | UnsetType, described("In the first event.")] = UNSET
    content: Annotated[str | UnsetType, described("More of what it says.")] = UNSET
    reasoning_content: Annotated[str | UnsetType, described("More of what it thinks before it answers.")] = UNSET
    reasoning: Annotated[str | UnsetType, described("The same.")] = UNSET
    tool_calls: Annotated[
        Sequence[CalledTool] | UnsetType, described("A part of a call: first who is called, then with what.")
    ] = UNSET
    audio: Annotated[ChatAudio | UnsetType, described("The answer as it is said, where that was asked for.")] = UNSET


class ChatChunkChoice(OpenAIShape, frozen=True, kw_only=True):
    """What an event adds to one answer."""

    index: Annotated[int, described("From 0.")] = 0
    delta: Annotated[ChatDelta, described("What it adds.")]
    logprobs: Annotated[
        ChoiceLogprobs | None, described("With logprobs, in the last event with a choice: of all its tokens.")
    ] = None
    finish_reason: Annotated[str | None, described("In the last event with a choice; else null.")] = None


class ChatChunk(OpenAIShape, frozen=True, kw_only=True):
    """An event of a stream. The one with the usage has no choices."""

    id: Annotated[str, described("The same in every event.")]
    object: Annotated[Literal["chat.completion.chunk"], described("What this is.")] = "chat.completion.chunk"
    created: Annotated[int, described("The same in every event.")]
    model: Annotated[str, described("The model, as it was asked for.")]
    choices: Annotated[Sequence[ChatChunkChoice], described("What it adds to the answers.")]
    usage: Annotated[
        CompletionUsage | UnsetType | None, described("With include_usage: null but in the last event.")
    ] = UNSET


__all__ = ["ChatAudio", "ChatBody", "ChatChoice", "ChatChunk", "ChatChunkChoice", "ChatCompletion", "ChatDelta",
           "ChatMessage", "StreamOptions"]  # fmt: skip
