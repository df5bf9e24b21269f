"""Every error a user can meet, in one tree. Owns codes, statuses and default sentences; knows no HTTP framework.

Who is told what: strangers that they need a key, and no more (Unauthorized, Throttled); an account the message; the
operator the detail as well. A message therefore names nothing of the server, as files, hosts or others; a detail may.

ModelyardError
├── InvalidRequest 422            a field is wrong: names the field, what was got, what is accepted
│   ├── MalformedBody 400         the body is not JSON, or not an object
│   ├── BodyTooLarge 413
│   ├── UnsupportedMediaType 415
│   ├── ModelRefused 422          the model's files cannot be served safely, or at all
│   └── ProviderRefused 422       a provider does not take the request; carries provider and its status
├── Unauthorized 401
│   └── ProviderKeyRefused        a provider's key is missing, or the provider does not take it
├── ForeignPage 403               a page from elsewhere may have sent it, with the console's cookie
├── PaymentRequired 402           the account's credit or monthly limit is used up
├── QuotaExceeded 403             the account has all it may have; waiting does not help
├── NotFound 404
│   ├── UnknownModel              offers the nearest names
│   ├── UnknownCluster
│   ├── UnknownAccount            names the accounts there are
│   ├── UnknownKey
│   ├── UnknownAlias
│   ├── UnknownNode               names the nodes there are
│   └── UnknownResponse
├── Throttled 429                 carries retry_after_s
│   ├── RateLimited           a key's requests per minute; carries the limit
│   ├── TooManyAtOnce         an account's requests under way at once
│   ├── Overloaded 503        what requests bring fills the memory that the server has for it
│   ├── QueueFull
│   └── ProviderBusy          a provider has answered 429, again and again
├── Unavailable 503
│   ├── NoCapacity
│   ├── BootFailed
│   ├── ClusterOff
│   ├── DownloadFailed
│   ├── CannotListen              the address is taken, or not this machine's; carries host and port
│   ├── StoreUnavailable          the database or its disk takes no records; carries cause
│   ├── DatabaseTaken             another server uses the database; carries where and holder
│   ├── LeaseLost                 another server leads: what this one would do as the leader is not done
│   ├── ProviderFailed 502        a provider cannot be reached, or failed; carries provider and its status
│   │   └── CannotAskProviders 503  this server's process that asks them did not start
│   └── ReplicaLost               the replica died with the request in it; retried elsewhere when unstarted
├── DeadlineExceeded 504
└── InferenceFailed 500           the model code raised; details are in the replica's log
    └── InputTooLarge 413         the model ran out of memory on this input alone
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

MOST_MESSAGE_CHARACTERS = 4096
"""No sentence of ours is a quarter as long; one that holds a name from a request or a model may be."""
MOST_FIELD_CHARACTERS = 256
"""A field may be called by a name from a request."""
MOST_SHOWN_BITS = 1024
"""Longer whole numbers are described: writing one out takes the square of its length."""


class ModelyardError(Exception):
    """Something went wrong inside Modelyard."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, detail: str | None = None, **data: Any) -> None:
        """`message` defaults to the class's docstring; `detail` is a sentence for the operator alone; `data` is what a
        program would want to know."""
        self.message = clip(message or (type(self).__doc__ or "").strip(), MOST_MESSAGE_CHARACTERS)
        self.detail = detail
        self.data: dict[str, Any] = data
        super().__init__(self.message)

    def __str__(self) -> str:
        """What the operator is told, in the log or a terminal."""
        return self.message if self.detail is None else f"{self.message} {self.detail}"


class InvalidRequest(ModelyardError):
    """The request is not valid."""

    code = "invalid_request"
    status = 422

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        got: Any = None,
        accepted: str | None = None,
        **data: Any,
    ) -> None:
        """Builds the sentence from `field`, `got` and `accepted` when no `message` is given."""
        field = None if field is None else clip(field, MOST_FIELD_CHARACTERS)
        if message is None and field is not None:
            message = f"{field}: got {shorten(got)}; accepted: {accepted}"
        super().__init__(message, field=field, got=shorten(got), accepted=accepted, **data)


class MalformedBody(InvalidRequest):
    """The body is not valid JSON."""

    code = "malformed_body"
    status = 400


class BodyTooLarge(InvalidRequest):
    """The body is larger than this server accepts."""

    code = "body_too_large"
    status = 413


class UnsupportedMediaType(InvalidRequest):
    """The content type is not accepted here."""

    code = "unsupported_media_type"
    status = 415


class ModelRefused(InvalidRequest):
    """The model cannot be served."""

    code = "model_refused"


class ProviderRefused(InvalidRequest):
    """The provider does not take this request."""

    code = "provider_refused"


class Unauthorized(ModelyardError):
    """No valid API key was given."""

    code = "unauthorized"
    status = 401


class ProviderKeyRefused(Unauthorized):
    """No key was given that the provider takes."""

    code = "provider_key_refused"


class QuotaExceeded(ModelyardError):
    """The account has all it may have."""

    code = "quota_exceeded"
    status = 403


class OperatorOnly(ModelyardError):
    """Only the operator of this server may know this."""

    code = "operator_only"
    status = 403


class ForeignPage(ModelyardError):
    """This request changes something and comes with the console's cookie, but not from the console."""

    code = "foreign_page"
    status = 403


class PaymentRequired(ModelyardError):
    """This account's credit is spent."""

    code = "payment_required"
    status = 402


class NotFound(ModelyardError):
    """Nothing is there."""

    code = "not_found"
    status = 404


class UnknownModel(NotFound):
    """No such model."""

    code = "unknown_model"


class UnknownCluster(NotFound):
    """No such cluster."""

    code = "unknown_cluster"


class UnknownAccount(NotFound):
    """No such account."""

    code = "unknown_account"


class UnknownKey(NotFound):
    """No such key."""

    code = "unknown_key"


class UnknownAlias(NotFound):
    """No such alias."""

    code = "unknown_alias"


class UnknownNode(NotFound):
    """No such node."""

    code = "unknown_node"


class UnknownResponse(NotFound):
    """No such response."""

    code = "unknown_response"


class Throttled(ModelyardError):
    """Too many requests."""

    code = "throttled"
    status = 429
    retryable = True

    def __init__(self, message: str | None = None, *, retry_after_s: float, **data: Any) -> None:
        """`retry_after_s`: seconds after which trying again is worth it."""
        super().__init__(message, retry_after_s=retry_after_s, **data)


class RateLimited(Throttled):
    """This key has used up its requests for now."""

    code = "rate_limited"

    def __init__(self, message: str | None = None, *, limit: int, retry_after_s: float, **data: Any) -> None:
        """`limit`: requests the key may make in a minute."""
        super().__init__(message, limit=limit, retry_after_s=retry_after_s, **data)


class TooManyAtOnce(Throttled):
    """The account has as many requests under way as it may have at once."""

    code = "too_many_at_once"


class Overloaded(Throttled):
    """The server's memory for requests is in use."""

    code = "overloaded"
    status = 503


class QueueFull(Throttled):
    """The cluster's queue is full."""

    code = "queue_full"


class ProviderBusy(Throttled):
    """The provider takes no more requests for now."""

    code = "provider_busy"


class Unavailable(ModelyardError):
    """The model cannot answer now."""

    code = "unavailable"
    status = 503
    retryable = True


class NoCapacity(Unavailable):
    """There is no room for this model."""

    code = "no_capacity"


class BootFailed(Unavailable):
    """The model did not start."""

    code = "boot_failed"


class ClusterOff(Unavailable):
    """The cluster is off."""

    code = "cluster_off"


class DownloadFailed(Unavailable):
    """The model's files could not be fetched."""

    code = "download_failed"


class CannotListen(Unavailable):
    """The address cannot be listened on."""

    code = "cannot_listen"


class StoreUnavailable(Unavailable):
    """This server cannot keep its records: its database does not answer, or not soon enough."""

    code = "store_unavailable"

    def __init__(self, detail: str, *, cause: str | None = None) -> None:
        """`cause`: "disk full", "disk" (it fails, or is read-only), or what else `store.problems` found."""
        super().__init__(DISK_WORDS.get(cause or ""), detail=detail, cause=cause)

    def __str__(self) -> str:
        """The detail, which says all of it."""
        return self.detail or self.message


DISK_WORDS = {
    "disk": "This server cannot write its records: its disk fails or is read-only.",
    "disk full": "This server cannot write its records: its disk is full.",
}
"""What is said of the causes of StoreUnavailable that are no database's."""


class DatabaseTaken(Unavailable):
    """Another server uses the database."""

    code = "database_taken"


class LeaseLost(Unavailable):
    """Another server leads by now."""

    code = "lease_lost"
    retryable = False


class ProviderFailed(Unavailable):
    """The provider did not answer."""

    code = "provider_failed"
    status = 502


class CannotAskProviders(ProviderFailed):
    """The process that asks providers did not start."""

    code = "cannot_ask_providers"
    status = 503


class ReplicaLost(Unavailable):
    """The replica died while it held this request."""

    code = "replica_lost"


class DeadlineExceeded(ModelyardError):
    """The wait ran out."""

    code = "deadline_exceeded"
    status = 504
    retryable = True


class InferenceFailed(ModelyardError):
    """The model failed on this input."""

    code = "inference_failed"


class InputTooLarge(InferenceFailed):
    """The model ran out of memory on this input."""

    code = "input_too_large"
    status = 413


def all_errors(root: type[ModelyardError] = ModelyardError) -> Iterator[type[ModelyardError]]:
    """`root` and every class below it."""
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


def make_error(code: str, message: str, data: dict[str, Any]) -> ModelyardError:
    """An error of the class with this code; an unknown code makes a plain `ModelyardError`."""
    kind = next((e for e in all_errors() if e.code == code), ModelyardError)
    error = kind.__new__(kind)
    ModelyardError.__init__(error, message)
    error.data = dict(data)
    return error


def shorten(value: Any, limit: int = 80) -> str:
    """`value` as it would be written in JSON-like text, cut to `limit` characters. Never looks at more of it than it
    shows: a client may have sent megabytes."""
    text = "null" if value is None else "".join(take(written(value, limit), limit))
    return clip(text, limit)


def clip(text: str, limit: int) -> str:
    """`text`, cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def take(pieces: Iterable[str], limit: int) -> Iterator[str]:
    """Pieces until there are more than `limit` characters."""
    for piece in pieces:
        yield piece
        limit -= len(piece)
        if limit < 0:
            return


def written(value: Any, limit: int) -> Iterator[str]:
    """`repr` of plain data in pieces, each made when it is asked for; of a long text or number only the beginning."""
    if isinstance(value, str | bytes):
        yield repr(value[: limit + 1])
    elif isinstance(value, int) and value.bit_length() > MOST_SHOWN_BITS:
        yield f"a number of {value.bit_length()} bits"
    elif isinstance(value, dict):
        yield "{"
        for number, (name, each) in enumerate(value.items()):
            yield ", " if number else ""
            yield from written(name, limit)
            yield ": "
            yield from written(each, limit)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, each in enumerate(value):
            yield ", " if number else ""
            yield from written(each, limit)
        yield "]"
    else:
        yield repr(value)
