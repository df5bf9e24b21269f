"""From what the library raises to our errors. Owns what a client is told of a provider's own: its status and its words,
never a key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from modelyard.errors import (
    InvalidRequest,
    ModelyardError,
    ProviderBusy,
    ProviderFailed,
    ProviderKeyRefused,
    ProviderRefused,
    clip,
)

MOST_WORDS = 500
"""Characters of a provider's message that are passed on."""
DEFAULT_WAIT_S = 5.0
"""What a client is told to wait for where the provider does not say."""
LONGEST_WAIT_S = 86_400.0
"""More than a day makes no sense, whatever a provider says."""
TRANSIENT = frozenset({408, 409, 425, 429})
_PREFIX = re.compile(r"^(?:litellm\.)?\w+(?:Error|Exception)?: (?:\w+(?:Error|Exception): )*(?:\w+Exception - )?")


def to_error(error: Exception, provider: str, key: str) -> ModelyardError:
    """Our error for one of the library's."""
    status = status_of(error)
    words = words_of(error, key)
    shown = f"{provider} answered {status}: {words}" if status else f"{provider} cannot be reached: {words}"
    told: dict[str, Any] = {"provider": provider, "provider_status": status}
    if status in (401, 403):
        return ProviderKeyRefused(shown, cause="refused", **told)
    if status == 429:
        wait_s = wait_of(error)
        return ProviderBusy(
            shown, retry_after_s=DEFAULT_WAIT_S if wait_s is None else wait_s, says_when=wait_s is not None, **told
        )
    if status is None or status >= 500 or status in TRANSIENT:
        wait_s = wait_of(error)
        told |= {} if wait_s is None else {"retry_after_s": wait_s, "says_when": True}
        return ProviderFailed(shown, **told)
    return ProviderRefused(shown, **told)


def unsupported(provider: str, field: str, got: Any) -> InvalidRequest:
    """The error for what a provider has no setting for."""
    return InvalidRequest(field=field, got=got, accepted=f"nothing: {provider} has no such setting for this model")


def status_of(error: Exception) -> int | None:
    """The provider's status; None: it has not answered. The library gives some of its own troubles a status too."""
    response = getattr(error, "response", None)
    if type(error).__name__ in ("APIConnectionError", "Timeout", "APITimeoutError"):
        return None
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def words_of(error: Exception, key: str) -> str:
    """What the provider said, without the library's words around it, and without the key."""
    text = str(getattr(error, "message", "") or error)
    text = _PREFIX.sub("", text)
    if (found := find_message(text)) is not None:
        text = found
    return clip(without_key(text, key).strip() or type(error).__name__, MOST_WORDS)


def without_key(text: str, key: str) -> str:
    """A text in which the key, and what providers show of keys that they refuse, is masked."""
    if len(key) >= 4:
        text = text.replace(key, "***")
        text = re.sub(rf"{re.escape(key[:3])}[\w*.…-]*{re.escape(key[-4:])}", "***", text)
    return text


def find_message(text: str) -> str | None:
    """The message in a provider's error, where that is JSON in one of their shapes."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text[start:])
    except ValueError:
        return None
    for _ in range(3):
        if not isinstance(found, Mapping):
            break
        found = found.get("error") or found.get("message") or found.get("detail")
    return found if isinstance(found, str) else None


def wait_of(error: Exception) -> float | None:
    """For how many seconds the provider asks to be left alone; None where it does not say."""
    response = getattr(error, "response", None)
    for headers in (getattr(error, "litellm_response_headers", None), getattr(response, "headers", None)):
        if headers and (value := dict(headers).get("retry-after")) is not None:
            return read_wait(str(value))
    return None


def read_wait(value: str) -> float | None:
    """The header's seconds, or the moment that it names. Source: RFC 9110, 10.2.3."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(0.0, seconds), LONGEST_WAIT_S)
