"""Traces of a real server whose replicas are real processes, read by OpenTelemetry's own definition of the format."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from tests.builders import build
from tests.serving import KEY, Server, wait_until
from tests.telemetry.collector import attributes_of, collecting

pytestmark = pytest.mark.verify(part="observability")

PACKAGES = Path(sys.prefix) / "telemetry-packages"
"""Where `make verify-observability` puts OpenTelemetry's definition of the format."""
MODEL = "tiny/bert"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
IDS = ("traceId", "spanId", "parentSpanId")
TEXT = "a text that nobody else is to read"


def with_binary_ids(value: Any) -> Any:
    """What OTLP says in hexadecimal digits and protobuf's JSON in base64."""
    if isinstance(value, dict):
        return {
            name: base64.b64encode(bytes.fromhex(each)).decode() if name in IDS else with_binary_ids(each)
            for name, each in value.items()
        }
    return [with_binary_ids(each) for each in value] if isinstance(value, list) else value


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By path, what a request there must be."""
    monkeypatch.syspath_prepend(str(PACKAGES))
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return {"/v1/traces": ExportTraceServiceRequest, "/v1/logs": ExportLogsServiceRequest}


@pytest.mark.parametrize("gateways", ["1", "2"])
def test_a_request_is_followed_from_its_client_into_its_replica(
    tmp_path: Path, messages: dict[str, Any], gateways: str
) -> None:
    build("bert_classifier", tmp_path / "models" / MODEL)
    flags = ("--log-format", "json", "--gateways", gateways)
    with collecting() as collector:
        with Server(tmp_path, tmp_path / "models", *flags, "--otlp-endpoint", collector.url) as server:
            headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "mine"}
            answered = server.post(MODEL, headers, text=TEXT)
            assert answered.status_code == 200
            assert server.post(MODEL, {"traceparent": f"00-{TRACE}-{CALLER}-00"}, text=TEXT).status_code == 200
            wait_until(collector.spans)
        spans = {span["name"]: span for span in collector.spans()}
        assert len(spans) == len(collector.spans())  # of the request that is sampled
        assert {span["traceId"] for span in spans.values()} == {TRACE}
        below = {name: span["parentSpanId"] for name, span in spans.items()}
        root, replica = spans["inference"], spans["replica"]
        assert below["inference"] == CALLER
        assert below["queue"] == below["replica"] == root["spanId"]
        assert below["batch wait"] == below["model"] == replica["spanId"]
        assert below["boot"] == spans["queue"]["spanId"]
        for outer, inner in (
            ("inference", "queue"),
            ("inference", "replica"),
            ("replica", "batch wait"),
            ("replica", "model"),
        ):
            assert int(spans[outer]["startTimeUnixNano"]) <= int(spans[inner]["startTimeUnixNano"])
            assert int(spans[inner]["endTimeUnixNano"]) <= int(spans[outer]["endTimeUnixNano"])
        request_id = answered.headers["x-request-id"]
        assert attributes_of(root)["modelyard.request_id"] == request_id
        told = [each for each in collector.lines() if attributes_of(each).get("request_id") == request_id]
        assert {line["traceId"] for line in told} == {TRACE}
        (line,) = [each for each in told if attributes_of(each)["logger"] == "modelyard.requests"]
        assert attributes_of(line)["client_request_id"] == "mine"
        (loaded,) = [line for line in collector.lines() if line["body"]["stringValue"].startswith(f"loaded {MODEL}")]
        assert attributes_of(loaded)["replica_id"] == attributes_of(replica)["modelyard.replica_id"]
        for path, body in collector.bodies:
            assert json_format.ParseDict(with_binary_ids(json.loads(body)), messages[path]()).ByteSize()
        sent = repr(collector.bodies)
        assert [secret for secret in (TEXT, KEY) if secret in sent] == []
    written = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
    lines = [json.loads(line) for line in written]
    (own,) = [line for line in lines if (line["logger"], line.get("request_id")) == ("modelyard.requests", request_id)]
    assert (own["trace_id"], own["status"], own["model"], own["surface"]) == (TRACE, 200, MODEL, "v2")
    assert KEY not in server.log.read_text()
