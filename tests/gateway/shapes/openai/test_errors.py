"""Errors as OpenAI's clients read them: status, type, code and the field."""

from __future__ import annotations

import pytest

from modelyard.errors import (
    BodyTooLarge,
    InferenceFailed,
    InvalidRequest,
    MalformedBody,
    ModelyardError,
    NoCapacity,
    PaymentRequired,
    RateLimited,
    Unauthorized,
    UnknownModel,
)
from modelyard.gateway.shapes.openai.base import OpenAIError
from modelyard.gateway.surfaces.foreign import renamed

TOO_LONG = InvalidRequest("messages: got 9 tokens", field="messages", tokens=9, limit=8)


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "param"),
    [
        (InvalidRequest(field="n", got=0, accepted="1"), 400, "invalid_request_error", "invalid_request", "n"),
        (MalformedBody(), 400, "invalid_request_error", "malformed_body", None),
        (TOO_LONG, 400, "invalid_request_error", "context_length_exceeded", "messages"),
        (Unauthorized(), 401, "invalid_request_error", "invalid_api_key", None),
        (PaymentRequired(), 402, "insufficient_quota", "insufficient_quota", None),
        (UnknownModel("There is none."), 404, "invalid_request_error", "model_not_found", None),
        (BodyTooLarge("It is."), 413, "invalid_request_error", "body_too_large", None),
        (RateLimited(limit=1, retry_after_s=1.0), 429, "rate_limit_error", "rate_limit_exceeded", None),
        (InferenceFailed("It failed."), 500, "server_error", "inference_failed", None),
        (NoCapacity("It is full."), 503, "server_error", "no_capacity", None),
    ],
)
def test_an_error_has_openais_status_type_and_code(
    error: ModelyardError, status: int, kind: str, code: str, param: str | None
) -> None:
    told = OpenAIError.of(error, "req_1").error

    assert OpenAIError.status_of(error) == status
    assert (told.type, told.code, told.param) == (kind, code, param)
    assert error.message.rstrip(".") in told.message


def test_an_unknown_exception_shows_nothing_of_itself() -> None:
    told = OpenAIError.of(ValueError("secret"), "req_1").error

    assert (OpenAIError.status_of(ValueError()), told.type, told.code) == (500, "server_error", None)
    assert "secret" not in told.message
    assert "req_1" in told.message


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("params.max_new_tokens", "max_tokens"),
        ("params.top_k", "top_k"),
        ("messages[0].role", "messages[0].role"),
        ("text[3]", "input[3]"),
        ("text", "input"),
    ],
)
def test_a_field_is_called_as_the_client_calls_it(field: str, name: str) -> None:
    error = InvalidRequest(field=field, got=-1, accepted="more")
    shown = renamed(error, {"params.max_new_tokens": "max_tokens", "text": "input"})

    assert isinstance(shown, InvalidRequest)
    assert shown.data["field"] == name
    assert shown.message == f"{name}: got -1; accepted: more"


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_look_for() -> None:
    assert OpenAIError.of(TOO_LONG, "req_1").error.message.startswith(
        "This model's maximum context length is 8 tokens."
    )
