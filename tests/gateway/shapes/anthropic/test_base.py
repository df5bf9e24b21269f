"""Errors as Anthropic's clients read them."""

from __future__ import annotations

import pytest

from modelyard.errors import InferenceFailed, InvalidRequest, NoCapacity, PaymentRequired, RateLimited, UnknownModel
from modelyard.gateway.shapes.anthropic.base import AnthropicError


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequest(field="tools", got=1, accepted="a list"), 400, "invalid_request_error"),
        (PaymentRequired(), 402, "billing_error"),
        (UnknownModel(), 404, "not_found_error"),
        (RateLimited(retry_after_s=1, limit=1), 429, "rate_limit_error"),
        (NoCapacity(), 503, "overloaded_error"),
        (InferenceFailed(), 500, "api_error"),
        (ValueError("a secret"), 500, "api_error"),
    ],
)
def test_an_error_has_the_type_that_belongs_to_its_status(error: Exception, status: int, kind: str) -> None:
    body = AnthropicError.of(error, "req_1")
    assert (AnthropicError.status_of(error), body.error.type, body.request_id) == (status, kind, "req_1")
    assert "secret" not in body.error.message


def test_only_an_error_that_clients_know_how_to_go_on_from_has_details() -> None:
    plain = InvalidRequest(field="model", got=1, accepted="a text")
    known = InvalidRequest(field="thread", got={}, accepted="none", error_code="thread_unsupported_request")

    assert not AnthropicError.of(plain, "req_1").error.details
    details = AnthropicError.of(known, "req_1").error.details
    assert details
    assert details.error_code == "thread_unsupported_request"


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_agents_look_for() -> None:
    error = InvalidRequest("messages: got 9 tokens", field="messages", tokens=9, limit=8)
    assert AnthropicError.of(error, "req_1").error.message.startswith("prompt is too long: 9 tokens > 8 maximum.")
