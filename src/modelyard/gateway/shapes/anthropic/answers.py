"""What `/v1/messages` and `/v1/messages/count_tokens` answer. Only describes: `surfaces.anthropic` speaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, UnsetType

from modelyard.gateway.shapes.base import SnakeShape, described


class ThoughtBlock(SnakeShape, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """What the model thought before it answered: a block of type thinking, where the request asks for it."""

    thinking: Annotated[str, described("The text; empty where the request leaves it out.")]
    signature: Annotated[str, described("The message's id, as clients want something here; it is not read again.")]


class SaidBlock(SnakeShape, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """What the assistant says: a block of type text."""

    text: Annotated[str, described("The text.")]


class CalledBlock(SnakeShape, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    """A function that it calls: a block of type tool_use."""

    id: Annotated[str, described("Names the call in the block that brings its result: tool_use_id.")]
    name: Annotated[str, described("The function's name.")]
    input: Annotated[dict[str, Any], described("Its arguments; empty where a stream begins to tell them.")]


Block = ThoughtBlock | SaidBlock | CalledBlock


class OutputDetails(SnakeShape, frozen=True, kw_only=True):
    """What was made."""

    thinking_tokens: Annotated[int, described("Tokens that were made before the answer began: what was thought.")]


class AnthropicUsage(SnakeShape, frozen=True, kw_only=True):
    """The tokens that a request took."""

    input_tokens: Annotated[int, described("Tokens that the model was given, those it had read before among them.")]
    output_tokens: Annotated[int, described("Tokens that it made.")]
    cache_creation_input_tokens: Annotated[int, described("Always 0: input_tokens has all of them.")] = 0
    cache_read_input_tokens: Annotated[int, described("Always 0: input_tokens has all of them.")] = 0
    output_tokens_details: Annotated[
        OutputDetails | UnsetType, described("Where the model marks what it thinks before it answers.")
    ] = UNSET


class AnthropicAnswer(SnakeShape, frozen=True, kw_only=True):
    """The assistant's message."""

    id: Annotated[str, described("Names the request, as x-request-id does.")]
    type: Annotated[Literal["message"], described("What this is.")] = "message"
    role: Annotated[Literal["assistant"], described("Always assistant.")] = "assistant"
    model: Annotated[str, described("The model, as it was asked for.")]
    content: Annotated[
        Sequence[Block],
        described("What it thought, what it says, the functions that it calls; one block at least."),
    ]
    stop_reason: Annotated[
        str | None, described("end_turn, max_tokens, stop_sequence, or tool_use where it calls functions.")
    ]
    stop_sequence: Annotated[str | None, described("The text at which the answer ended.")] = None
    usage: Annotated[AnthropicUsage, described("What it took.")]


class CountedTokens(SnakeShape, frozen=True, kw_only=True):
    """How long a conversation is."""

    input_tokens: Annotated[int, described("Tokens that the model reads of it.")]
