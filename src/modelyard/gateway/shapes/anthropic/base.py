"""What every call of Anthropic's API shares: its error.

Source: https://docs.anthropic.com/en/api/messages, and the types of the package `anthropic`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from msgspec import UNSET, UnsetType

from modelyard.errors import ModelyardError
from modelyard.gateway import problem, remedies
from modelyard.gateway.shapes.base import ErrorBody, SnakeShape, described

TYPES = {
    401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip
"""Statuses with a type of their own; the others are the request's or the server's fault."""


class ProblemDetails(SnakeShape, frozen=True, kw_only=True):
    """What a program can tell it by."""

    error_code: Annotated[str, described("thread_unsupported_request: send the whole conversation, without thread.")]


class AnthropicProblem(SnakeShape, frozen=True, kw_only=True):
    """What is wrong."""

    type: Annotated[str, described("invalid_request_error, not_found_error, rate_limit_error, api_error, ...")]
    message: Annotated[str, described("What is wrong, what was got, what to do.")]
    details: Annotated[ProblemDetails | UnsetType, described("Of errors that clients know how to go on from.")] = UNSET


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
        if problem.is_too_long(error):
            message = f"prompt is too long: {error.data['tokens']} tokens > {error.data['limit']} maximum. {message}"
        told = AnthropicProblem(type=kind, message=message, details=details_of(error))
        return cls(error=told, request_id=request_id)

    @classmethod
    def status_of(cls, error: BaseException) -> int:
        """A wrong field is a 400 here."""
        status = problem.status_of(error)
        return 400 if status == 422 else status


def details_of(error: BaseException) -> ProblemDetails | UnsetType:
    """What is told of an error that has a code of Anthropic's API."""
    code = error.data.get("error_code") if isinstance(error, ModelyardError) else None
    return UNSET if code is None else ProblemDetails(error_code=code)
