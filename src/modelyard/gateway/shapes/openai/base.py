"""What every call of OpenAI's API shares: snake_case names, its error, the usage.

Source: https://platform.openai.com/docs/api-reference, and the types of the package `openai`.
"""

from __future__ import annotations

from typing import Annotated, Self

from msgspec import UNSET, UnsetType

from modelyard.errors import (
    ModelyardError,
    PaymentRequired,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    UnknownModel,
)
from modelyard.gateway import problem, remedies
from modelyard.gateway.shapes.base import ErrorBody, SnakeShape, described
from modelyard.protocol import FinishReason, Usage

INVALID, SERVER = "invalid_request_error", "server_error"
CODES: dict[type[ModelyardError], str] = {
    UnknownModel: "model_not_found",
    Unauthorized: "invalid_api_key",
    PaymentRequired: "insufficient_quota",
    QuotaExceeded: "insufficient_quota",
}
"""Errors for which OpenAI has a word of its own; the others keep ours."""
TYPES = {402: "insufficient_quota", 403: "permission_error", 429: "rate_limit_error"}
"""Statuses with a type of their own; the others are the request's or the server's fault."""
REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TIME: "length",
    FinishReason.CANCELLED: "stop",
}
"""Why a text ended, in OpenAI's words."""


class OpenAIShape(SnakeShape, frozen=True, kw_only=True):
    """What goes over this API as one JSON object."""


class OpenAIProblem(OpenAIShape, frozen=True, kw_only=True):
    """What is wrong, for a program and for a person."""

    message: Annotated[str, described("What is wrong, what was got, what to do.")]
    type: Annotated[str, described("invalid_request_error, rate_limit_error, server_error, ...")]
    param: Annotated[str | None, described("The field that is wrong, where it is one.")] = None
    code: Annotated[str | None, described("The kind of error: model_not_found, context_length_exceeded, ...")] = None


class OpenAIError(ErrorBody, frozen=True, kw_only=True):
    """What is wrong, as OpenAI's API says it."""

    error: Annotated[OpenAIProblem, described("What is wrong.")]
    remedies = remedies.OPENAI

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Self:
        """The body of an error."""
        return cls(
            error=OpenAIProblem(
                message=message_of(error, problem.message_of(error, request_id, cls.remedies)),
                type=type_of(error),
                param=param_of(error),
                code=code_of(error),
            )
        )

    @classmethod
    def status_of(cls, error: BaseException) -> int:
        """A wrong field is a 400 here."""
        status = problem.status_of(error)
        return 400 if status == 422 else status


def message_of(error: BaseException, message: str) -> str:
    """The message, in front of it the words by which clients know a prompt that is too long."""
    if not problem.is_too_long(error):
        return message
    return f"This model's maximum context length is {error.data['limit']} tokens. {message}"


def type_of(error: BaseException) -> str:
    """The type of an error."""
    status = problem.status_of(error)
    return TYPES.get(status, SERVER if status >= 500 else INVALID)


def param_of(error: BaseException) -> str | None:
    """The field that an error is about."""
    field = error.data.get("field") if isinstance(error, ModelyardError) else None
    return field if isinstance(field, str) else None


def code_of(error: BaseException) -> str | None:
    """The code of an error."""
    if not isinstance(error, ModelyardError):
        return None
    if isinstance(error, Throttled) and error.status == 429:
        return "rate_limit_exceeded"
    if problem.is_too_long(error):
        return "context_length_exceeded"
    return CODES.get(type(error), error.code)


class PromptDetails(OpenAIShape, frozen=True, kw_only=True):
    """What the prompt was made of."""

    cached_tokens: Annotated[int, described("Tokens of it that were not read again, as an earlier text began so.")]


class CompletionDetails(OpenAIShape, frozen=True, kw_only=True):
    """What was made."""

    reasoning_tokens: Annotated[int, described("Tokens that were made before the answer began: what was thought.")]


class CompletionUsage(OpenAIShape, frozen=True, kw_only=True):
    """The tokens that a request took."""

    prompt_tokens: Annotated[int, described("Tokens that the model read.")]
    completion_tokens: Annotated[int | UnsetType, described("Tokens that it made, all choices together.")] = UNSET
    total_tokens: Annotated[int, described("Both.")]
    prompt_tokens_details: Annotated[
        PromptDetails | UnsetType, described("Where the model keeps what it has read.")
    ] = UNSET
    completion_tokens_details: Annotated[
        CompletionDetails | UnsetType, described("Where the model marks what it thinks before it answers.")
    ] = UNSET


def show_usage(usage: Usage) -> CompletionUsage:
    """What an inference that writes took."""
    read, made = usage.prompt_tokens or 0, usage.new_tokens or 0
    kept = usage.cached_tokens
    details = UNSET if kept is None else PromptDetails(cached_tokens=kept)
    thought = usage.reasoning_tokens
    return CompletionUsage(
        prompt_tokens=read,
        completion_tokens=made,
        total_tokens=read + made,
        prompt_tokens_details=details,
        completion_tokens_details=UNSET if thought is None else CompletionDetails(reasoning_tokens=thought),
    )


def reason_of(usage: Usage, place: int) -> str:
    """Why the text of the choice number `place` ended."""
    reasons = usage.finish_reasons or [usage.finish_reason or FinishReason.STOP]
    return REASONS[reasons[place] if place < len(reasons) else FinishReason.STOP]


class StreamOptions(OpenAIShape, frozen=True, kw_only=True):
    """What a stream carries besides."""

    include_usage: Annotated[bool, described("Send the usage as the last event before [DONE].")] = False
    include_obfuscation: Annotated[bool, described("Has no effect: events are not padded here.")] = False
