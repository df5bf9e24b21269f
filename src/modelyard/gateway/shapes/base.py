"""What every shape shares: camelCase names, a description beside each field, the v2 envelope and the errors.

Owns no noun. What a field's description says is what `/openapi.json` says.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

import msgspec

from modelyard.clock import iso
from modelyard.gateway import problem, remedies
from modelyard.gateway.remedies import Remedies

T = TypeVar("T")


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What goes over HTTP as one JSON object. A field that is UNSET is not sent."""


class SnakeShape(Shape, frozen=True, kw_only=True, rename=None):
    """The same with names as they are written here, in snake_case, as other APIs have them."""


def described(description: str, *, accepted: str | None = None, **schema: Any) -> msgspec.Meta:
    """A field's description. `accepted`: what an error says of it, where the type does not say it well; `schema`: more
    keywords of its JSON schema."""
    return msgspec.Meta(
        description=description,
        extra_json_schema=schema or None,
        extra=None if accepted is None else {"accepted": accepted},
    )


Fallbacks = Annotated[
    list[str] | None,
    described("Models to ask in this order when that one cannot answer.", accepted="a list of up to 8 of org/name"),
]
"""Behind the model of a request: see `gateway.inference`."""


def moment(description: str) -> msgspec.Meta:
    """The description of a field that holds a moment as text."""
    return described(f"{description} ISO 8601, UTC, milliseconds, Z.")


def show_moment(moment: datetime | None) -> str | None:
    """A moment as clients read it, None for none."""
    return None if moment is None else iso(moment)


class Answer(Shape, Generic[T], frozen=True, kw_only=True):
    """The envelope of every JSON answer of v2."""

    error: Annotated[str | None, described("Null on success.")] = None
    output: T


class ErrorBody(Shape, frozen=True, kw_only=True):
    """What is wrong, as one surface says it: its words, its fields, its statuses."""

    remedies: ClassVar[Remedies] = remedies.OPERATOR

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Self:
        """The body of an error."""
        raise NotImplementedError

    @classmethod
    def status_of(cls, error: BaseException) -> int:
        """The HTTP status of an error."""
        return problem.status_of(error)


class ErrorSentence(ErrorBody, frozen=True, kw_only=True):
    """What is wrong, in one sentence under `error`."""

    error: Annotated[str, described("One clear sentence: what is wrong, what was got, what to do.")]

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Self:
        """The body of an error."""
        return cls(error=problem.message_of(error, request_id, cls.remedies))


class Error(ErrorSentence, frozen=True, kw_only=True):
    """What is wrong, in the envelope of v2."""

    output: Annotated[None, described("Always null.")] = None
    remedies: ClassVar[Remedies] = remedies.V2


class V1Error(ErrorSentence, frozen=True, kw_only=True):
    """What is wrong, as v1 says it."""

    remedies: ClassVar[Remedies] = remedies.V1


class V1JobError(ErrorSentence, frozen=True, kw_only=True):
    """Why v1 has no job to show."""

    success: Annotated[bool, described("Always false.")] = False
    remedies: ClassVar[Remedies] = remedies.V1


FAILURES = {
    400: "The body is not valid JSON.",
    401: "No valid key.",
    402: "The account's credit is spent, or its monthly limit reached.",
    403: "Your account has as many models as it may have; the message says which could be deleted.",
    404: "No such model or cluster; the nearest names are offered.",
    413: "The body, with what it brings, is larger than is accepted, or the input too large for the model's memory.",
    415: "The body's content type is not accepted, or it is compressed.",
    422: "A field is wrong: the message names it, what was got and what is accepted.",
    429: "Rate limit of the key, requests at once or calls of the account, or full queue; see Retry-After.",
    500: "Something went wrong inside the server; its log has the details under the request's id.",
    502: "The provider of a closed model cannot be reached, or failed.",
    503: "No capacity, or the boot failed, with the reason.",
    504: "The wait for an instance ran out.",
}
"""The status of an error → what it means, the same on every surface."""
HEADER_TOO_LARGE = "The request's header is too large; said in the shape of v2, for no call has seen the request."
"""Status 431, before anybody knows what is asked."""
