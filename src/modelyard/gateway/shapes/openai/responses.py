"""What `/v1/responses` reads and answers. Only describes: `surfaces.openai.responses` speaks it.

Source: https://platform.openai.com/docs/api-reference/responses, and the types of the package `openai`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from modelyard.gateway.shapes.base import Fallbacks, described
from modelyard.gateway.shapes.openai.base import OpenAIShape, StreamOptions
from modelyard.gateway.shapes.openai.chat import TokenLogprob
from modelyard.gateway.shapes.openai.tools import FunctionName, OfferedFunction, Schema
from modelyard.gateway.shapes.openai.writing import NO_EFFECT, Temperature, TopP

LOGPROBS, ENCRYPTED = "message.output_text.logprobs", "reasoning.encrypted_content"
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class ResponseTool(OfferedFunction, frozen=True, kw_only=True):
    """A function that the model may call."""

    type: Annotated[
        Literal["function"], described("Always function.", accepted='"function": this server has no tools of its own')
    ]


class ChosenFunction(FunctionName, frozen=True, kw_only=True):
    """The function that the model has to call."""

    type: Annotated[Literal["function"], described("Always function.", accepted='"function"')]


class TextFormat(OpenAIShape, frozen=True, kw_only=True):
    """In what form the answer is wanted."""

    type: Annotated[
        Literal["text", "json_object", "json_schema"],
        described("text; json_object: any JSON object; json_schema: JSON that fits a schema."),
    ] = "text"
    name: Annotated[str | UnsetType, described("What the schema is called; the model does not see it.")] = UNSET
    schema: Annotated[
        Schema | UnsetType,
        described("With json_schema: the schema, which the answer always fits.", accepted="a JSON schema"),
    ] = UNSET
    description: Annotated[str | UnsetType | None, described("What it is for; the model does not see it.")] = UNSET
    strict: Annotated[bool | UnsetType | None, described("Has no effect: the answer always fits the schema.")] = UNSET


class TextSettings(OpenAIShape, frozen=True, kw_only=True):
    """How the answer is written."""

    format: Annotated[TextFormat, described("In what form the answer is wanted.")] = TextFormat()
    verbosity: Annotated[
        Literal["medium"] | UnsetType | None, described("medium: as the model writes.", accepted="medium")
    ] = UNSET


class ReasoningSettings(OpenAIShape, frozen=True, kw_only=True):
    """How the model thinks before it answers."""

    effort: Annotated[
        Effort | None, described("How long, where the model's chat template reads that; none: not at all.")
    ] = None
    summary: Annotated[
        Literal["auto", "concise", "detailed"] | None,
        described("Has no effect: items of type reasoning have all that was thought."),
    ] = None


class ResponseBody(OpenAIShape, frozen=True, kw_only=True):
    """What to answer."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    models: Fallbacks = None
    input: Annotated[
        str | Annotated[list[dict[str, Any]], Meta(min_length=1)],
        described(
            "A text of the user's, or items: messages (with input_text, input_image, input_audio), function_call, "
            "function_call_output, reasoning.",
            accepted="a text, or a list of items that is not empty",
        ),
    ]
    instructions: Annotated[
        str | None, described("What the model is told first; it does not carry over to the next response.")
    ] = None
    previous_response_id: Annotated[
        str | None, described("The response that this one goes on from, with all that went before it.")
    ] = None
    store: Annotated[
        bool | None, described("False: it is not stored, so that nothing can go on from it. By default it is.")
    ] = None
    stream: Annotated[bool, described("Send the response as events, as it is made.")] = False
    stream_options: Annotated[StreamOptions | None, described(NO_EFFECT, accepted="an object, with stream true")] = None
    tools: Annotated[
        list[ResponseTool] | None,
        described("Functions that the model may call, where its chat template knows them.", accepted="a list of tools"),
    ] = None
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | ChosenFunction | None,
        described(
            "As in chat. A call that is demanded always fits its function's schema.",
            accepted='"none", "auto", "required", or {"type": "function", "name": ...}',
        ),
    ] = None
    parallel_tool_calls: Annotated[
        bool | None, described("False: one call where tool_choice demands one; elsewhere the model decides.")
    ] = None
    text: Annotated[TextSettings | None, described("How the answer is written.", accepted="an object")] = None
    reasoning: Annotated[ReasoningSettings | None, described("How the model thinks.", accepted="an object")] = None
    max_output_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        described("Most tokens to make, thinking included; without it as many as the model's settings say, or 256."),
    ] = None
    temperature: Temperature = None
    top_p: TopP = None
    include: Annotated[
        list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None,
        described(
            f"{LOGPROBS}: how likely each token was; {ENCRYPTED} has no effect, as what was thought is not encrypted.",
            accepted=f"{LOGPROBS}, {ENCRYPTED}",
        ),
    ] = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=20)] | None,
        described("With logprobs: so many of the likeliest tokens at each place.", accepted="0 to 20"),
    ] = None
    truncation: Annotated[
        Literal["disabled"] | None,
        described("disabled: what is too long is refused.", accepted="disabled: nothing is left out here"),
    ] = None
    background: Annotated[Literal[False] | None, described("False: the answer is waited for.", accepted="false")] = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None,
        described("Variables of the model's chat template, of those that it reads.", accepted="an object"),
    ] = None
    timeout: Annotated[
        float | None, described("Seconds that the request may take in all.", accepted="a number of seconds above 0")
    ] = None
    metadata: Annotated[dict[str, str] | None, described("Kept with the response.", accepted="an object of texts")] = (
        None
    )
    user: Annotated[str | None, described(NO_EFFECT)] = None
    safety_identifier: Annotated[str | None, described(NO_EFFECT)] = None
    prompt_cache_key: Annotated[str | None, described(NO_EFFECT)] = None
    prompt_cache_retention: Annotated[str | None, described(NO_EFFECT)] = None
    service_tier: Annotated[Literal["auto", "default"] | None, described(NO_EFFECT)] = None


class OutputText(OpenAIShape, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """What a message says."""

    text: Annotated[str, described("The text.")]
    annotations: Annotated[Sequence[Any], described("Always empty.")] = ()
    logprobs: Annotated[Sequence[TokenLogprob], described("How likely its tokens were, where that was asked for.")] = ()


class ThoughtPart(OpenAIShape, frozen=True, kw_only=True, tag_field="type", tag="reasoning_text"):
    """What was thought."""

    text: Annotated[str, described("The text.")]


ItemStatus = Literal["in_progress", "completed", "incomplete"]


class MessageItem(OpenAIShape, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """The assistant's message."""

    id: Annotated[str, described("Names the item.")]
    status: Annotated[ItemStatus, described("in_progress, completed or incomplete.")]
    role: Annotated[Literal["assistant"], described("Always assistant.")] = "assistant"
    content: Annotated[Sequence[OutputText], described("What it says: one part.")]


class ReasoningItem(OpenAIShape, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model thought before it answered."""

    id: Annotated[str, described("Names the item.")]
    summary: Annotated[Sequence[Any], described("Always empty.")] = ()
    content: Annotated[Sequence[ThoughtPart], described("What was thought: one part.")]
    status: Annotated[ItemStatus, described("in_progress, completed or incomplete.")]


class CallItem(OpenAIShape, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A function that the model calls."""

    id: Annotated[str, described("Names the item.")]
    call_id: Annotated[str, described("Names the call in the item that brings its result.")]
    name: Annotated[str, described("The function's name.")]
    arguments: Annotated[str, described("Its arguments, as JSON.")]
    status: Annotated[ItemStatus, described("in_progress, completed or incomplete.")]


Item = MessageItem | ReasoningItem | CallItem


class CachedDetails(OpenAIShape, frozen=True, kw_only=True):
    """What was read."""

    cached_tokens: Annotated[int, described("Tokens that were not read again, as an earlier text began so.")] = 0
    cache_write_tokens: Annotated[int, described("Always 0.")] = 0


class ThoughtDetails(OpenAIShape, frozen=True, kw_only=True):
    """What was made."""

    reasoning_tokens: Annotated[int, described("Tokens that were made before the answer began.")] = 0


class ResponseUsage(OpenAIShape, frozen=True, kw_only=True):
    """The tokens that it took."""

    input_tokens: Annotated[int, described("Tokens that the model read.")]
    input_tokens_details: Annotated[CachedDetails, described("Of what it read.")]
    output_tokens: Annotated[int, described("Tokens that it made.")]
    output_tokens_details: Annotated[ThoughtDetails, described("Of what it made.")]
    total_tokens: Annotated[int, described("Both.")]


class Incomplete(OpenAIShape, frozen=True, kw_only=True):
    """Why a response is incomplete."""

    reason: Annotated[Literal["max_output_tokens"], described("The limit of tokens, or of time, was reached.")]


class ResponseFailure(OpenAIShape, frozen=True, kw_only=True):
    """Why a response failed."""

    code: Annotated[str, described("The kind of error.")]
    message: Annotated[str, described("What went wrong.")]


class ResponseAnswer(OpenAIShape, frozen=True, kw_only=True):
    """A response."""

    id: Annotated[str, described("Names it.")]
    object: Annotated[Literal["response"], described("What this is.")] = "response"
    created_at: Annotated[int, described("Seconds since 1970.")]
    status: Annotated[
        Literal["in_progress", "completed", "incomplete", "failed"],
        described("completed; incomplete where a limit was reached; in events also in_progress and failed."),
    ]
    error: Annotated[ResponseFailure | None, described("Why it failed, in a stream.")] = None
    incomplete_details: Annotated[Incomplete | None, described("Why it is incomplete.")] = None
    model: Annotated[str, described("The model, as it was asked for.")]
    output: Annotated[
        Sequence[Item], described("What was thought, what is said, which functions are called, as far as there is any.")
    ]
    usage: Annotated[ResponseUsage | None, described("What it took; null until it has ended.")] = None
    previous_response_id: Annotated[str | None, described("The response that it goes on from.")] = None
    store: Annotated[bool, described("Whether it is stored.")]
    instructions: Annotated[str | None, described("As asked.")] = None
    tools: Annotated[Sequence[ResponseTool], described("As asked.")]
    tool_choice: Annotated[str | ChosenFunction, described("As asked.")]
    parallel_tool_calls: Annotated[bool, described("As asked.")]
    text: Annotated[TextSettings, described("As asked.")]
    reasoning: Annotated[ReasoningSettings, described("As asked.")]
    max_output_tokens: Annotated[int | None, described("As asked.")] = None
    temperature: Annotated[float | None, described("As asked.")] = None
    top_p: Annotated[float | None, described("As asked.")] = None
    top_logprobs: Annotated[int, described("As asked.")] = 0
    truncation: Annotated[Literal["disabled"], described("Nothing is left out.")] = "disabled"
    background: Annotated[Literal[False], described("Always false.")] = False
    metadata: Annotated[Mapping[str, str], described("As asked.")]
    user: Annotated[str | None, described("As asked.")] = None


class InputItems(OpenAIShape, frozen=True, kw_only=True):
    """The items that a response was asked with, oldest first."""

    object: Annotated[Literal["list"], described("What this is.")] = "list"
    data: Annotated[Sequence[dict[str, Any]], described("The items.")]
    has_more: Annotated[Literal[False], described("Always false.")] = False
    first_id: Annotated[str | None, described("The first of them.")]
    last_id: Annotated[str | None, described("The last of them.")]


class DeletedResponse(OpenAIShape, frozen=True, kw_only=True):
    """A response that is no longer there."""

    id: Annotated[str, described("What it was called.")]
    object: Annotated[Literal["response"], described("What it was.")] = "response"
    deleted: Annotated[Literal[True], described("Always true.")] = True
