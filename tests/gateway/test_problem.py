"""Who is told what of an error: an account the message, the operator's log the detail."""

from __future__ import annotations

import logging

import pytest

from modelyard.errors import InvalidRequest, ModelyardError, StoreUnavailable, UnknownModel
from modelyard.gateway import problem
from modelyard.gateway.remedies import V1, V2
from modelyard.gateway.requests import new_request_id

SECRETS = ("10.0.0.7", "/srv/models", "/var/lib")
ERRORS = [
    InvalidRequest(
        "image: cannot fetch http://a.test/b: its host cannot be reached.", detail="a.test: 10.0.0.7 refused."
    ),
    UnknownModel("There is no model a/b here.", detail="Looked in /srv/models."),
    StoreUnavailable("The disk that holds /var/lib is full.", cause="disk full"),
    StoreUnavailable("PostgreSQL at 10.0.0.7 cannot answer: refused."),
    KeyError("/srv/models"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_detail_is_in_the_log_under_the_requests_id_and_in_no_answer(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    request_id = new_request_id()
    with caplog.at_level(logging.DEBUG):
        problem.note(error, request_id)
    assert request_id in caplog.text
    assert any(secret in caplog.text for secret in SECRETS)
    for remedies in (V1, V2):
        told = problem.message_of(error, request_id, remedies)
        assert not any(secret in told for secret in SECRETS)


def test_an_error_without_a_detail_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        problem.note(InvalidRequest(field="size", got=0, accepted="1 or more"), "req_1")
    assert caplog.text == ""


def test_a_full_disk_is_told_without_its_path_and_with_what_follows() -> None:
    error: ModelyardError = StoreUnavailable("The disk that holds /var/lib is full.", cause="disk full")
    assert problem.message_of(error, "req_1", V2) == (
        "This server cannot write its records: its disk is full. Nothing new is begun until it can; try again shortly."
    )
    assert str(error) == "The disk that holds /var/lib is full."
