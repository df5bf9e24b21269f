"""What traces and the log tell of inferences: where their time went, under which ids, and no secret."""

from __future__ import annotations

import asyncio
import logging

import pytest

from modelyard.errors import InferenceFailed, Unavailable
from modelyard.gateway.destinations.base import OnPiece
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.observer import Observer
from modelyard.telemetry.exporter import Exporter
from modelyard.telemetry.log_lines import FIELDS, JsonLines, current_request
from modelyard.telemetry.settings import read_telemetry_settings
from modelyard.telemetry.spans import Trace
from tests.control.control_plane import SMALL
from tests.gateway.conftest import CHAT, Gateway
from tests.gateway.http_client import HttpClient
from tests.gateway.test_inference import failing, never

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRETS = ("sk-closed-provider", "hello, this is private")


class Kept(Exporter):
    """Keeps traces in place of sending them."""

    def __init__(self, **env: str) -> None:
        super().__init__(read_telemetry_settings("http://127.0.0.1:1", env))
        self.traces: list[Trace] = []

    def add_trace(self, trace: Trace) -> None:
        self.traces.append(trace)


def follow(gateway: Gateway, *, logs_requests: bool = False, **env: str) -> Kept:
    exporter = Kept(**env)
    gateway.inferences._observer = Observer(exporter, logs_requests=logs_requests)
    return exporter


def client(gateway: Gateway, text: str = "hello", **headers: str) -> HttpClient:
    made = HttpClient({"text": text}, key=gateway.key)
    made.scope["headers"] += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return made


async def test_a_trace_goes_on_where_its_client_says(gateway: Gateway) -> None:
    exporter = follow(gateway)
    asked = await gateway.ask(client(gateway, traceparent=f"00-{TRACE}-{CALLER}-01", x_request_id="mine"))
    (trace,) = exporter.traces
    root = trace.root
    assert (trace.id, root.parent_id, root.error) == (TRACE, CALLER, "")
    (request,) = gateway.destination.requests
    assert request.span is root
    assert root.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "gen_ai.request.model": SMALL,
        "modelyard.surface": "v2",
        "modelyard.account_id": request.key.account_id,
        "modelyard.request_id": asked.headers["x-request-id"],
        "modelyard.client_request_id": "mine",
    }


async def test_what_is_not_sampled_leaves_no_trace(gateway: Gateway) -> None:
    exporter = follow(gateway)
    await gateway.ask(client(gateway, traceparent=f"00-{TRACE}-{CALLER}-00"))
    assert exporter.traces == []
    assert gateway.destination.requests[0].span is None
    exporter = follow(gateway, OTEL_TRACES_SAMPLER="always_off")
    await gateway.ask(client(gateway))
    assert exporter.traces == []


async def test_requests_without_a_trace_begin_one_each(gateway: Gateway) -> None:
    exporter = follow(gateway)
    await gateway.ask(client(gateway))
    await gateway.ask(client(gateway, traceparent="nonsense"))
    assert len({trace.id for trace in exporter.traces}) == 2
    assert {trace.root.parent_id for trace in exporter.traces} == {""}


@pytest.mark.parametrize(("error", "status", "failed"), [(InferenceFailed("It broke."), 500, "500"), (None, 401, "")])
async def test_a_trace_of_a_refusal_has_its_status(
    gateway: Gateway, error: InferenceFailed | None, status: int, failed: str
) -> None:
    exporter = follow(gateway)
    if error is not None:
        gateway.destination.answering = failing(error)
    await gateway.ask(client(gateway) if error is not None else HttpClient({"text": "hello"}, key="none of ours"))
    (trace,) = exporter.traces
    assert (trace.root.attributes["http.response.status_code"], trace.root.error) == (status, failed)
    assert ("modelyard.account_id" in trace.root.attributes) == (error is not None)


async def test_a_client_that_left_ends_its_trace(gateway: Gateway) -> None:
    exporter = follow(gateway)
    gateway.destination.answering = never
    leaving = client(gateway)
    asking = asyncio.ensure_future(gateway.ask(leaving))
    while not gateway.destination.requests:
        await asyncio.sleep(0)
    leaving.left.set()
    await asking
    assert exporter.traces[0].root.attributes["http.response.status_code"] == 499


async def test_each_inference_is_a_line_with_its_ids_and_without_secrets(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.handler.setFormatter(JsonLines())
    follow(gateway, logs_requests=True)
    seen = []

    async def answering(request: ModelRequest, on_piece: OnPiece | None) -> str:
        seen.append(current_request.get())
        logging.getLogger("modelyard.some").warning("in the middle")
        return "done"

    gateway.destination.answering = answering
    asked = await gateway.ask(client(gateway, SECRETS[1], provider_key=SECRETS[0], x_request_id="mine"))
    gateway.destination.answering = failing(InferenceFailed("It broke.", detail="inside"))
    await gateway.ask(client(gateway, SECRETS[1], x_request_id="x" * 1000))
    (line,) = [record for record in caplog.records if record.name == "modelyard.requests"][:1]
    fields = getattr(line, FIELDS)
    assert {name: fields[name] for name in ("surface", "model", "status")} == {
        "surface": "v2", "model": SMALL, "status": 200,
    }  # fmt: skip
    assert fields["account_id"] == gateway.destination.requests[0].key.account_id
    assert 0 <= fields["took_s"] < 60
    request_id = asked.headers["x-request-id"]
    (labels,) = seen
    assert labels is not None
    assert (labels.request_id, labels.client_request_id) == (request_id, "mine")
    assert f'"request_id":"{request_id}","client_request_id":"mine"' in caplog.text
    assert current_request.get() is None
    assert not [secret for secret in (*SECRETS, gateway.key, "x" * 200) if secret in caplog.text]


async def test_the_second_model_that_is_tried_is_followed_under_its_own_id(gateway: Gateway) -> None:
    exporter = follow(gateway)
    ids = []

    async def answering(request: ModelRequest, on_piece: OnPiece | None) -> str:
        labels = current_request.get()
        assert labels is not None
        ids.append((labels.request_id, request.id))
        if len(ids) == 1:
            raise Unavailable("not now")
        return "done"

    gateway.destination.answering = answering
    asked = await gateway.ask(HttpClient({"text": "hello", "models": [CHAT]}, key=gateway.key))
    assert asked.status == 200
    assert [label for label, _ in ids] == [own for _, own in ids]
    assert len(set(ids)) == 2
    assert exporter.traces[0].root.attributes["modelyard.request_id"] == ids[1][1]


async def test_nobody_follows_where_nobody_asks(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await gateway.ask(client(gateway, traceparent=f"00-{TRACE}-{CALLER}-01"))
    assert gateway.destination.requests[0].span is None
    assert not [record for record in caplog.records if record.name == "modelyard.requests"]
