"""What Anthropic's clients send and read. Only describes: `surfaces.anthropic` speaks it.

Source: https://docs.anthropic.com/en/api/messages, and the types of the package `anthropic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from msgspec import Meta

from modelyard.gateway import problem, remedies
from modelyard.gateway.shapes.base import ErrorBody, SnakeShape, described

TYPES = {
    401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip
"""Statuses with a type of their own; the others are the request's or the server's fault."""


class AnthropicProblem(SnakeShape, frozen=True, kw_only=True):
    """What is wrong."""

    type: Annotated[str, described("invalid_request_error, not_found_error, rate_limit_error, api_error, ...")]
    message: Annotated[str, described("What is wrong, what was got, what to do.")]


class AnthropicError(ErrorBody, frozen=True, kw_only=True, rename=None):
    """What is wrong, as Anthropic's API says it."""

    type: Annotated[Literal["error"], described("What this is.")] = "error"
    error: Annotated[AnthropicProblem, described("What is wrong.")]
    request_id: Annotated[str, described("Names the request in the server's log.")]
    remedies = remedies.ANTHROPIC

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Self:
        """The body of an error."""
        status = problem.status_of(error)
        kind = TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        message = problem.message_of(error, request_id, cls.remedies)
        return cls(error=AnthropicProblem(type=kind, message=message), request_id=request_id)

    @classmethod
    def status_of(cls, error: BaseException) -> int:
        """A wrong field is a 400 here."""
        status = problem.status_of(error)
        return 400 if status == 422 else status


class AnthropicMessage(SnakeShape, frozen=True, kw_only=True):
    """One message of a conversation."""

    role: Annotated[Literal["user", "assistant", "system"], described("Who speaks.")]
    content: Annotated[
        str | list[dict[str, Any]],
        described(
            "A text, or blocks: text, image, tool_use, tool_result; thinking is left out of what the model reads.",
            accepted="a text, or a list of blocks",
        ),
    ]


class CountBody(SnakeShape, frozen=True, kw_only=True):
    """A conversation. Fields that are not here are left alone, as Anthropic's clients add some of their own."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    messages: Annotated[
        list[AnthropicMessage],
        Meta(min_length=1),
        described("The conversation so far, oldest first.", accepted="a list of messages that is not empty"),
    ]
    system: Annotated[
        str | list[dict[str, Any]] | None,
        described("What the model is told first: a text, or blocks of text.", accepted="a text, or blocks of text"),
    ] = None
    tools: Annotated[
        Annotated[list[Any], Meta(max_length=0)] | None,
        described("None: this server does not call tools yet.", accepted="an empty list: no tools are called here yet"),
    ] = None
    thinking: Annotated[
        dict[str, Any] | None, described('{"type": "disabled"}: models do not think apart here.', accepted="an object")
    ] = None


class MessagesBody(CountBody, frozen=True, kw_only=True):
    """A conversation to answer."""

    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000), described("Most tokens to make.")]
    stream: Annotated[bool, described("Send the answer as events, as it is made.")] = False
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        described("0 takes the likeliest token; by default as the model says.", accepted="a number from 0 to 1"),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        described("Draw among the likeliest tokens of this share.", accepted="a number above 0, at most 1"),
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None, described("Draw among so many of the likeliest tokens.")
    ] = None
    stop_sequences: Annotated[
        Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=16)] | None,
        described("Where the answer ends.", accepted="up to 16 texts, none empty"),
    ] = None
    metadata: Annotated[Any, described("Has no effect here.")] = None


class AnsweredBlock(SnakeShape, frozen=True, kw_only=True):
    """A block of the answer."""

    type: Annotated[Literal["text"], described("What this is.")] = "text"
    text: Annotated[str, described("What the assistant says.")]


class AnthropicUsage(SnakeShape, frozen=True, kw_only=True):
    """The tokens that a request took."""

    input_tokens: Annotated[int, described("Tokens that the model read.")]
    output_tokens: Annotated[int, described("Tokens that it made.")]


class AnthropicAnswer(SnakeShape, frozen=True, kw_only=True):
    """The assistant's message."""

    id: Annotated[str, described("Names the request, as x-request-id does.")]
    type: Annotated[Literal["message"], described("What this is.")] = "message"
    role: Annotated[Literal["assistant"], described("Always assistant.")] = "assistant"
    model: Annotated[str, described("The model, as it was asked for.")]
    content: Annotated[Sequence[AnsweredBlock], described("What it says: one block.")]
    stop_reason: Annotated[str | None, described("end_turn, max_tokens or stop_sequence.")]
    stop_sequence: Annotated[str | None, described("The text at which the answer ended.")] = None
    usage: Annotated[AnthropicUsage, described("What it took.")]


class CountedTokens(SnakeShape, frozen=True, kw_only=True):
    """How long a conversation is."""

    input_tokens: Annotated[int, described("Tokens that the model reads of it.")]
