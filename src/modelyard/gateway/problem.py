"""The one place where errors become HTTP answers. Owns their wire form; an unknown exception shows no internals."""

from __future__ import annotations

import logging
import math
from typing import TypeGuard

from modelyard.accounts import rates
from modelyard.errors import ModelyardError, RateLimited, StoreUnavailable, Throttled, Unauthorized
from modelyard.gateway.remedies import Remedies, sentence

log = logging.getLogger(__name__)

RETRY_STORE_S = 5


def status_of(error: BaseException) -> int:
    """The HTTP status of an error."""
    return error.status if isinstance(error, ModelyardError) else 500


def message_of(error: BaseException, request_id: str, remedies: Remedies) -> str:
    """What a client is told of an error: what is wrong and, in the words of its surface, what to do. No detail."""
    if isinstance(error, ModelyardError):
        return sentence(error, remedies)
    return f"Something went wrong inside the server. Its log has the details under request id {request_id}."


def is_too_long(error: BaseException) -> TypeGuard[ModelyardError]:
    """Whether an error is about a prompt longer than its model's context; then it carries `tokens` and `limit`.

    Other APIs have words of their own for this one, by which clients know to shorten what they send.
    """
    return isinstance(error, ModelyardError) and {"tokens", "limit"} <= error.data.keys()


def headers_of(error: BaseException) -> dict[str, str]:
    """Headers that belong to an error."""
    if isinstance(error, Throttled):
        wait_s = math.ceil(error.data["retry_after_s"])
        limits = rates.headers(error.data["limit"], 0, wait_s) if isinstance(error, RateLimited) else {}
        return {"retry-after": str(wait_s), **limits}
    if isinstance(error, StoreUnavailable):
        return {"retry-after": str(RETRY_STORE_S)}
    if isinstance(error, Unauthorized):
        return {"www-authenticate": 'Key realm="modelyard"'}
    return {}


def note(error: BaseException, request_id: str) -> None:
    """Logs what a client must not see."""
    if not isinstance(error, ModelyardError):
        log.error("request %s failed", request_id, exc_info=error)
    elif error.detail is not None:
        # The journal says once what is wrong with the store: a line for each request would fill the disk.
        level = logging.DEBUG if isinstance(error, StoreUnavailable) else logging.INFO
        log.log(level, "request %s: %s", request_id, error)
