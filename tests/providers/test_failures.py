"""What clients are told of a provider's errors."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.errors import ProviderBusy, ProviderFailed, ProviderKeyRefused, ProviderRefused
from modelyard.providers.failures import LONGEST_WAIT_S, read_wait, to_error

KEY = "sk-abcdefghijklmnop1234"


class Raised(Exception):
    """As the library's errors are."""

    def __init__(self, message: str, status: int | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status
        self.litellm_response_headers = headers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRefused), (404, ProviderRefused), (413, ProviderRefused), (422, ProviderRefused),
        (401, ProviderKeyRefused), (403, ProviderKeyRefused), (429, ProviderBusy), (408, ProviderFailed),
        (500, ProviderFailed), (529, ProviderFailed), (None, ProviderFailed),
    ],
)  # fmt: skip
def test_a_status_says_what_it_is(status: int | None, kind: type[Exception]) -> None:
    assert type(to_error(Raised("words", status), "acme", KEY)) is kind


def test_the_providers_words_are_shown_without_the_librarys() -> None:
    message = 'litellm.BadRequestError: AcmeException - {"error": {"message": "no such size", "type": "x"}}'
    error = to_error(Raised(message, 400), "acme", KEY)
    assert error.message == "acme answered 400: no such size"


@pytest.mark.parametrize("shown", [KEY, "sk-abc***1234", "sk-****1234", f"({KEY})"])
def test_a_key_is_shown_neither_whole_nor_in_part(shown: str) -> None:
    message = to_error(Raised(f"Incorrect API key provided: {shown}. Find yours.", 401), "acme", KEY).message
    assert "1234" not in message
    assert "sk-" not in message
    assert "Find yours" in message


def test_the_time_that_a_provider_asks_for_is_told() -> None:
    busy: Any = to_error(Raised("slow", 429, {"retry-after": "7"}), "acme", KEY)
    assert (busy.data["retry_after_s"], busy.data["says_when"]) == (7.0, True)
    assert to_error(Raised("slow", 429), "acme", KEY).data["says_when"] is False


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-3", 0.0), ("inf", LONGEST_WAIT_S), ("nan", None), ("soon", None), ("", None),
     ("Fri, 01 Jan 2100 00:00:00 GMT", LONGEST_WAIT_S), ("Fri, 01 Jan 1999 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_a_wait_is_read_in_both_of_its_forms(value: str, seconds: float | None) -> None:
    assert read_wait(value) == seconds
