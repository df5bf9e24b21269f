"""The one inference, whatever surface it came through: the order of its checks, what it sends on, how it ends."""

from __future__ import annotations

import asyncio
import base64
import gc
from typing import Any

import msgspec
import pytest

from modelyard.errors import InferenceFailed, ModelyardError, QueueFull, ReplicaLost
from modelyard.gateway.destinations.base import OnPiece
from modelyard.gateway.model_request import ModelRequest
from modelyard.records.accounts import Quota
from tests.control.control_plane import SMALL
from tests.control.test_boots import fail_boots
from tests.gateway.conftest import CHAT, IMAGES, MAX_BODY_BYTES, Gateway, answer_with
from tests.gateway.http_client import HttpClient

REPEATED = 20
"""Requests after which garbage of each of them would show."""
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def failing(error: ModelyardError, *pieces: str) -> Any:
    """Fails, after pieces where the request streams."""

    async def answering(request: ModelRequest, on_piece: OnPiece | None) -> Any:
        await answer_with("", *pieces)(request, on_piece)
        raise error

    return answering


async def never(request: ModelRequest, on_piece: OnPiece | None) -> Any:
    """Works on it for ever."""
    await asyncio.Event().wait()


# --- answers ---


async def test_v2_answers_in_its_envelope_with_what_it_took(gateway: Gateway) -> None:
    client = await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    assert client.json() == {"error": None, "output": "done"}
    assert client.headers["inference-time"] == "1.500000"
    assert float(client.headers["inference-cost"]) > 0
    assert client.headers["ratelimit-limit"]


async def test_v1_answers_in_the_librarys_shape_once_a_model_is_loaded(gateway: Gateway) -> None:
    await gateway.control.put()
    client = await gateway.ask(HttpClient({"model": SMALL, "prompt": "hello"}, key=gateway.key), gateway.v1, None)
    assert client.json() == {"output": [{"generated_text": "done"}]}
    account_id = gateway.destination.requests[0].key.account_id
    assert gateway.destination.requests[0].route is await gateway.control.plane.get_route(account_id, SMALL)


async def test_v1_answers_with_the_conversation_as_it_was_sent_however_large_a_file_in_it(gateway: Gateway) -> None:
    await gateway.control.put(CHAT)
    answer = {"role": "assistant", "content": "done"}
    gateway.destination.answering = answer_with(answer)
    sent = [{"role": "user", "content": "data:image/png;base64," + "A" * 400_000}]
    client = await gateway.ask(HttpClient({"model": CHAT, "messages": sent}, key=gateway.key), gateway.v1, None)
    assert client.json() == {"output": [{"generated_text": [*sent, answer]}]}


async def test_v1_refuses_a_model_that_is_not_loaded_and_says_how_to_load_it(gateway: Gateway) -> None:
    client = await gateway.ask(HttpClient({"model": SMALL, "prompt": "hello"}, key=gateway.key), gateway.v1, None)
    assert client.status == 404
    assert f'POST /model/load {{"model": "{SMALL}"}}' in client.json()["error"]
    assert gateway.destination.requests == []


async def test_a_request_over_v1_revives_a_model_that_was_given_up_like_one_over_v2(gateway: Gateway) -> None:
    control = gateway.control
    managed = await control.put()
    await fail_boots(control, control.policy.max_failed_boots)
    assert managed.failure is not None
    control.step(after_s=control.policy.failure_kept_s)
    await gateway.ask(HttpClient({"model": SMALL, "prompt": "hello"}, key=gateway.key), gateway.v1, None)
    assert managed.failure is None


# --- the order of the checks ---


async def test_a_stranger_is_refused_before_the_body_is_read(gateway: Gateway) -> None:
    client = await gateway.ask(HttpClient(b"{", key="wrong"))
    assert (client.status, client.body_was_read) == (401, False)
    assert client.headers["www-authenticate"]


async def test_an_account_with_all_it_may_have_under_way_is_refused_before_the_body_is_read(gateway: Gateway) -> None:
    gateway.destination.answering = never
    gateway.administration.set_limits("ada", {"max_concurrent": 1})
    gateway.quotas.read()
    first = HttpClient({"text": "hello"}, key=gateway.key)
    working = asyncio.create_task(gateway.ask(first))
    while not gateway.destination.requests:
        await asyncio.sleep(0)
    second = await gateway.ask(HttpClient(b"{", key=gateway.key))
    assert (second.status, second.body_was_read) == (429, False)
    assert second.headers["retry-after"]
    first.left.set()
    await working
    assert gateway.quotas.under_way() == 0


@pytest.mark.parametrize(
    ("body", "model_id", "status", "words"),
    [
        (b"{", "no/model", 400, "not valid JSON"),
        (b"[]", "no/model", 400, "a JSON object"),
        (b" " * (MAX_BODY_BYTES + 1), "no/model", 413, "body"),
        (b'{"txt": "hello"}', "no one/at all", 422, "model"),
        (b'{"txt": "hello"}', "no/model", 404, "no/model"),
        (b'{"txt": "hello"}', SMALL, 422, "txt"),
        (b'{"text": "hello", "params": {"top": 3}}', SMALL, 422, "params.top"),
        (b'{"url": "http://127.0.0.1/x.png"}', IMAGES, 422, "url"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_run_or_made(
    gateway: Gateway, body: bytes, model_id: str, status: int, words: str
) -> None:
    client = await gateway.ask(HttpClient(body, key=gateway.key), model_id=model_id)
    assert client.status == status
    assert words in client.json()["error"]
    assert client.json()["output"] is None
    assert gateway.destination.requests == []
    assert gateway.control.store.clusters.list() == []


async def test_what_the_destination_refuses_is_worded_by_the_surface(gateway: Gateway) -> None:
    await gateway.control.put()
    gateway.destination.answering = failing(QueueFull("3 requests wait for this model already.", retry_after_s=1.0))
    over_v2 = await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    over_v1 = await gateway.ask(HttpClient({"model": SMALL, "text": "hello"}, key=gateway.key), gateway.v1, None)
    assert (over_v2.status, over_v1.status) == (429, 429)
    assert over_v2.headers["retry-after"] == over_v1.headers["retry-after"] == "1"
    assert "capacity.max" in over_v2.json()["error"]
    assert "concurrency" in over_v1.json()["error"]


# --- every form of input ---


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"text": "hello"}'),
        ("application/json", b'{"prompt": "hello"}'),
        ("application/json", b'{"input": "hello"}'),
        ("application/json", b'{"input": {"text": "hello"}}'),
        ("text/plain", b'{"text": "hello"}'),
        ("application/x-www-form-urlencoded", b'{"text": "hello"}'),
        ("application/vnd.api+json", b'{"text": "hello"}'),
        (
            "multipart/form-data; boundary=edge",
            b'--edge\r\ncontent-disposition: form-data; name="text"\r\n\r\nhello\r\n--edge--\r\n',
        ),
    ],
)
async def test_a_text_reaches_the_destination_in_whatever_form_it_came(
    gateway: Gateway, content_type: str, body: bytes
) -> None:
    client = await gateway.ask(HttpClient(body, key=gateway.key, content_type=content_type))
    assert client.status == 200, client.pieces
    assert gateway.destination.requests[0].inference.fields == {"text": "hello"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", msgspec.json.encode({"base64": base64.b64encode(PNG).decode()})),
        ("application/json", msgspec.json.encode({"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"})),
        ("application/json", msgspec.json.encode({"input": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"})),
        ("image/png", PNG),
        ("application/octet-stream", PNG),
        (
            "multipart/form-data; boundary=edge",
            b'--edge\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
            + PNG
            + b"\r\n--edge--\r\n",
        ),
    ],
)
async def test_an_image_reaches_the_destination_as_bytes_in_whatever_form_it_came(
    gateway: Gateway, content_type: str, body: bytes
) -> None:
    gateway.destination.answering = answer_with([])
    client = await gateway.ask(HttpClient(body, key=gateway.key, content_type=content_type), model_id=IMAGES)
    assert client.status == 200, client.pieces
    assert gateway.destination.requests[0].inference.fields["media"]["data"] == PNG


async def test_a_content_type_that_is_not_accepted_is_refused(gateway: Gateway) -> None:
    client = await gateway.ask(HttpClient(b"<a/>", key=gateway.key, content_type="text/xml"))
    assert client.status == 415


# --- streams ---


async def test_a_stream_carries_its_pieces_and_ends(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with("abc", "a", "b", "c")
    client = await gateway.ask(HttpClient({"text": "hello", "stream": True}, key=gateway.key))
    assert (client.pieces, client.ended) == ([b"a", b"b", b"c"], True)
    assert client.headers["content-type"].startswith("text/event-stream")
    assert client.headers["inference-time"] == "0.000000"


async def test_a_stream_without_a_piece_is_an_empty_stream(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with("")
    client = await gateway.ask(HttpClient({"text": "hello", "stream": True}, key=gateway.key))
    assert (client.status, client.pieces, client.ended) == (200, [], True)
    assert client.headers["content-type"].startswith("text/event-stream")


async def test_a_failure_before_the_first_piece_is_a_status(gateway: Gateway) -> None:
    gateway.destination.answering = failing(InferenceFailed("It broke."))
    client = await gateway.ask(HttpClient({"text": "hello", "stream": True}, key=gateway.key))
    assert (client.status, client.json()["error"]) == (500, "It broke.")


async def test_a_failure_after_the_first_piece_breaks_the_connection(gateway: Gateway) -> None:
    gateway.destination.answering = failing(ReplicaLost("It died."), "a")
    client = await gateway.ask(HttpClient({"text": "hello", "stream": True}, key=gateway.key))
    assert (client.status, client.pieces, client.ended) == (200, [b"a"], False)


async def test_an_unforeseen_error_shows_no_internals(gateway: Gateway) -> None:
    async def broken(request: ModelRequest, on_piece: OnPiece | None) -> Any:
        raise ZeroDivisionError("secret")

    gateway.destination.answering = broken
    client = await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    assert client.status == 500
    assert "secret" not in client.json()["error"]
    assert client.headers["x-request-id"] in client.json()["error"]


# --- clients that leave ---


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_work_and_is_answered_nothing(gateway: Gateway, stream: bool) -> None:
    gateway.destination.answering = never
    client = HttpClient({"text": "hello", "stream": stream}, key=gateway.key)
    working = asyncio.create_task(gateway.ask(client))
    while not gateway.destination.requests:
        await asyncio.sleep(0)
    client.left.set()
    await working
    assert gateway.destination.cancelled
    assert client.status is None
    assert gateway.quotas.under_way() == 0
    record = await gateway.record()
    assert record is not None
    assert (record.outcome, record.instance_id, record.took_us) == ("cancelled", "in_1", 1_500_000)


# --- metering ---


@pytest.mark.parametrize(
    ("answering", "outcome"),
    [
        (answer_with("done"), "answered"),
        (failing(InferenceFailed("It broke.")), "failed"),
        (failing(ReplicaLost("It died.")), "lost"),
    ],
)
async def test_what_a_request_took_is_written_down_however_it_ends(
    gateway: Gateway, answering: Any, outcome: str
) -> None:
    gateway.destination.answering = answering
    client = await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    record = await gateway.record()
    assert record is not None
    assert record.id == client.headers["x-request-id"]
    assert (record.outcome, record.instance_id, record.took_us) == (outcome, "in_1", 1_500_000)


async def test_of_several_tries_the_last_is_metered(gateway: Gateway) -> None:
    gateway.destination.tries = [("in_1", 0), ("in_2", 700_000)]
    await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    record = await gateway.record()
    assert record is not None
    assert (record.instance_id, record.took_us) == ("in_2", 700_000)


async def test_a_request_that_reached_no_instance_leaves_no_record(gateway: Gateway) -> None:
    gateway.destination.tries = []
    gateway.destination.answering = failing(QueueFull("Full.", retry_after_s=1.0))
    await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    assert await gateway.record() is None


async def test_a_quota_that_was_read_holds_for_the_cluster_that_a_request_would_make(gateway: Gateway) -> None:
    gateway.control.quotas[gateway.control.account] = Quota(models=0)

    async def making(request: ModelRequest, on_piece: OnPiece | None) -> Any:
        await gateway.control.plane.ensure_route(request.key.account_id, request.card.model_id)

    gateway.destination.answering = making
    gateway.destination.tries = []
    client = await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    assert client.status == 403
    assert "modelyard accounts set" in client.json()["error"]


async def test_requests_leave_nothing_behind_that_only_the_collector_finds(gateway: Gateway) -> None:
    async def ask(body: dict[str, Any]) -> None:
        await gateway.ask(HttpClient(body, key=gateway.key))

    gateway.destination.answering = answer_with("done", "do")
    bodies: list[dict[str, Any]] = [{"text": "hello"}, {"text": "hello", "stream": True}]
    for body in bodies:
        await ask(body)
        gateway.destination.requests.clear()
        gc.collect()
        gc.disable()
        try:
            for _ in range(REPEATED):
                await ask(body)
            gateway.destination.requests.clear()
            found = gc.collect()
        finally:
            gc.enable()
        assert found < REPEATED, body
