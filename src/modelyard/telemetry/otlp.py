"""Traces and log lines in the form that collectors read: OTLP, in JSON.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding, opentelemetry-proto
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from modelyard import __version__
from modelyard.telemetry.log_lines import LogLine
from modelyard.telemetry.spans import Attribute, Span, Trace

SCOPE = {"name": "modelyard", "version": __version__}
FAILED = 2
"""The status code of a span that failed."""
SAMPLED = 1
"""The flag of a span that is kept."""
SEVERITIES = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}


def encode_traces(traces: Sequence[Trace], resource: Mapping[str, str]) -> bytes:
    """The body of a request to `/v1/traces`."""
    spans = [span_of(trace, span) for trace in traces for span in trace.spans]
    scopes = [{"scope": SCOPE, "spans": spans}]
    return msgspec.json.encode({"resourceSpans": [{"resource": resource_of(resource), "scopeSpans": scopes}]})


def encode_logs(lines: Sequence[LogLine], resource: Mapping[str, str]) -> bytes:
    """The body of a request to `/v1/logs`."""
    scopes = [{"scope": SCOPE, "logRecords": [record_of(line) for line in lines]}]
    return msgspec.json.encode({"resourceLogs": [{"resource": resource_of(resource), "scopeLogs": scopes}]})


def span_of(trace: Trace, span: Span) -> dict[str, Any]:
    """One span."""
    made = {
        "traceId": trace.id,
        "spanId": span.id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(trace.wall_ns + span.began_ns),
        "endTimeUnixNano": str(trace.wall_ns + span.ended_ns),
        "attributes": attributes_of(span.attributes),
        "flags": SAMPLED,
    }
    if span.parent_id:
        made["parentSpanId"] = span.parent_id
    if span.error:
        made["status"] = {"code": FAILED, "message": span.error}
    return made


def record_of(line: LogLine) -> dict[str, Any]:
    """One line of the log."""
    made = {
        "timeUnixNano": str(line.time_ns),
        "severityNumber": SEVERITIES.get(line.level, 0),
        "severityText": line.level.upper(),
        "body": {"stringValue": line.message},
        "attributes": attributes_of({"logger": line.logger, **line.fields}),
    }
    if line.trace_id:
        made |= {"traceId": line.trace_id, "spanId": line.span_id, "flags": SAMPLED}
    return made


def resource_of(resource: Mapping[str, str]) -> dict[str, Any]:
    """Who sends."""
    return {"attributes": attributes_of(resource)}


def attributes_of(attributes: Mapping[str, Attribute]) -> list[dict[str, Any]]:
    """Names with their values."""
    return [{"key": name, "value": value_of(value)} for name, value in attributes.items()]


def value_of(value: Attribute) -> dict[str, Any]:
    """A value with its type; whole numbers are text, since they have 64 bits."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
