"""What every call but inference has in common: keys, answers, and errors in the surface's own shape."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.calls import CallBudget
from modelyard.errors import InvalidRequest, QueueFull, StoreUnavailable, Unauthorized
from modelyard.gateway.endpoint import endpoint
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.base import Error, Shape, V1Error
from modelyard.records.accounts import Key
from tests.clock import HandClock

KEY = Key("key_1", "acc_1", "ada", None, "sk-1", datetime(2026, 5, 1, tzinfo=UTC))
SURFACES = [V1Error, Error]


class Thing(Shape, frozen=True, kw_only=True):
    """An answer."""

    its_size: int


async def authenticate(header: str | None, address: str | None) -> Key:
    if header != "Key ada":
        raise Unauthorized
    return KEY


async def call(handler: Any, *, key: str | None = "Key ada", per_s: float = 0, **operation: Any) -> Response:
    headers = [] if key is None else [(b"authorization", key.encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    described = Operation(path="/", summary="", tag="", answer=Thing, **operation)
    return await endpoint(described, handler, authenticate, CallBudget(per_s, HandClock()))(Request(scope))


def raising(error: Exception) -> Any:
    async def handler(request: Request, key: Key) -> Thing:
        raise error

    return handler


async def test_an_answer_is_json_with_the_operations_status_and_an_id() -> None:
    async def handler(request: Request, key: Key) -> Thing:
        assert key is KEY
        return Thing(its_size=3)

    response = await call(handler, status=202)

    assert (response.status_code, json.loads(bytes(response.body))) == (202, {"itsSize": 3})
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["x-request-id"].startswith("req_")


async def test_a_whole_response_is_sent_as_it_is() -> None:
    async def handler(request: Request, key: Key) -> Response:
        return Response(b"\x89PNG", 206, media_type="image/png")

    response = await call(handler)

    assert (response.status_code, response.body, response.media_type) == (206, b"\x89PNG", "image/png")
    assert "x-request-id" in response.headers


async def test_a_public_operation_asks_for_no_key() -> None:
    async def handler(request: Request) -> Thing:
        return Thing(its_size=0)

    assert (await call(handler, key=None, public=True)).status_code == 200


@pytest.mark.parametrize("shape", SURFACES)
async def test_without_a_key_the_header_says_which_kind_is_wanted(shape: Any) -> None:
    response = await call(raising(AssertionError("not reached")), key="Key bob", error=shape)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Key realm="modelyard"'
    assert json.loads(bytes(response.body)).keys() == set(shape.__struct_fields__)


@pytest.mark.parametrize("shape", SURFACES)
@pytest.mark.parametrize(
    "error", [QueueFull("3 requests wait.", retry_after_s=1.2), StoreUnavailable("The disk is full.")]
)
async def test_who_should_come_back_is_told_when(shape: Any, error: Exception) -> None:
    response = await call(raising(error), error=shape)

    assert response.status_code in (429, 503)
    assert int(response.headers["retry-after"]) >= 1


async def test_errors_speak_the_surfaces_language() -> None:
    bodies = []
    for shape in SURFACES:
        response = await call(raising(InvalidRequest(field="size", got=0, accepted="1 or more")), error=shape)
        assert response.status_code == 422
        bodies.append(json.loads(bytes(response.body)))
    assert bodies == [{"error": "size: got 0; accepted: 1 or more"}, {**bodies[0], "output": None}]


async def test_a_bug_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    response = await call(raising(KeyError("/srv/secret")))

    assert response.status_code == 500
    assert "secret" not in bytes(response.body).decode()
    assert response.headers["x-request-id"] in bytes(response.body).decode()
    assert "secret" in caplog.text


@pytest.mark.parametrize("shape", SURFACES)
async def test_a_call_over_the_budget_is_refused_in_the_surfaces_shape(shape: Any) -> None:
    async def handler(request: Request, key: Key) -> Thing:
        raise AssertionError("not reached")

    response = await call(handler, per_s=1.0, cost=8.0, error=shape)

    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert "limited to 1 per second" in json.loads(bytes(response.body))["error"]


async def test_a_denied_attempt_that_cannot_be_noted_is_answered_with_why_not() -> None:
    async def note(request: Request, error: Exception) -> None:
        raise StoreUnavailable("The store is away.")

    response = await call(raising(Unauthorized()), key=None, on_denied=note, error=Error)

    assert response.status_code == 503
    assert "cannot keep its records" in json.loads(bytes(response.body))["error"]
    assert "x-request-id" in response.headers
