"""The one place where errors become HTTP answers. Owns their wire form; an unknown exception shows no internals."""

from __future__ import annotations

import logging
import math

import msgspec

from modelyard.accounts import rates
from modelyard.errors import ModelyardError, RateLimited, StoreUnavailable, Throttled, Unauthorized
from modelyard.gateway.remedies import V2, Remedies, sentence

log = logging.getLogger(__name__)

RETRY_STORE_S = 5
STORE_WORDS = {
    None: "This server cannot keep its records: its database does not answer.",
    "disk": "This server cannot write its records: its disk fails or is read-only.",
    "disk full": "This server cannot write its records: its disk is full.",
}
"""By the cause of StoreUnavailable, whose own message is for operators: it names files and hosts."""
NOTHING_NEW = "Nothing new is begun until it can; try again shortly."


def status_of(error: BaseException) -> int:
    """The HTTP status of an error."""
    return error.status if isinstance(error, ModelyardError) else 500


def message_of(error: BaseException, request_id: str, remedies: Remedies) -> str:
    """What a client is told of an error: what is wrong and, in the words of its surface, what to do."""
    if isinstance(error, StoreUnavailable):
        return f"{STORE_WORDS.get(error.data.get('cause'), STORE_WORDS[None])} {NOTHING_NEW}"
    if isinstance(error, ModelyardError):
        return sentence(error, remedies)
    return f"Something went wrong inside the server. Its log has the details under request id {request_id}."


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
    if isinstance(error, StoreUnavailable):  # the journal says it once: a line for each request would fill the disk
        log.debug("request %s: %s", request_id, error.message)
    if not isinstance(error, ModelyardError):
        log.error("request %s failed", request_id, exc_info=error)


def v2_body(error: BaseException, request_id: str) -> bytes:
    """The v2 envelope of an error."""
    return msgspec.json.encode({"error": message_of(error, request_id, V2), "output": None})
