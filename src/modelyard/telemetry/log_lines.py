"""Lines of this process's log, with the request that each is about: as JSON, one object a line.

Owns which request is being answered in the running task; never logs itself.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from modelyard.telemetry.spans import Attribute

FIELDS = "fields"
"""In the `extra` of a logging call: what the line tells beside its text, by name."""


class RequestLabels(msgspec.Struct, frozen=True):
    """By what the lines about one request are found. `client_request_id`: what its client calls it; empty texts: there
    is none."""

    request_id: str
    client_request_id: str = ""
    trace_id: str = ""
    span_id: str = ""


NO_REQUEST = RequestLabels("")
"""Of a line that is about none."""
current_request: ContextVar[RequestLabels | None] = ContextVar("current_request", default=None)
"""The request that the running task answers; where nobody writes lines with it, it is not set."""


class LogLine(msgspec.Struct, frozen=True):
    """One line. `fields`: what it tells beside its text; `time_ns`: since 1970."""

    time_ns: int
    level: str
    logger: str
    message: str
    fields: dict[str, Attribute] = {}
    trace_id: str = ""
    span_id: str = ""


def line_of(record: logging.LogRecord) -> LogLine:
    """What a record of the library says, with the request of the task that made it."""
    labels = current_request.get() or NO_REQUEST
    fields = {**ids_of(labels), **(getattr(record, FIELDS, None) or {})}
    if record.exc_info and record.exc_info[0] is not None:
        fields["exception"] = logging.Formatter().formatException(record.exc_info)
    return LogLine(
        int(record.created * 1e9),
        record.levelname.lower(),
        record.name,
        record.getMessage(),
        fields,
        labels.trace_id,
        labels.span_id,
    )


def ids_of(labels: RequestLabels) -> dict[str, Attribute]:
    """By name, the ids of a request that there are."""
    ids = {"request_id": labels.request_id, "client_request_id": labels.client_request_id}
    return {name: id for name, id in ids.items() if id}


def write_json_lines() -> None:
    """Has this process's log, and Python's warnings, written as JSON from now on, by the handler that it has."""
    logging.getLogger().handlers[0].setFormatter(JsonLines())
    logging.captureWarnings(True)


class JsonLines(logging.Formatter):
    """Writes each record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = line_of(record)
        written: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": line.level,
            "logger": line.logger,
            "message": line.message,
        }
        if line.trace_id:
            written |= {"trace_id": line.trace_id, "span_id": line.span_id}
        return msgspec.json.encode(written | line.fields).decode()
