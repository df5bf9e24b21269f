"""The log as JSON: what a line holds, and that it is one."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from modelyard.telemetry.log_lines import FIELDS, JsonLines, RequestLabels, current_request


def written(message: str, *args: object, level: int = logging.INFO, **more: object) -> dict[str, object]:
    """A line, read again."""
    record = logging.getLogger("modelyard.some").makeRecord("modelyard.some", level, "", 0, message, args, **more)  # type: ignore[arg-type]
    text = JsonLines().format(record)
    assert "\n" not in text
    read: dict[str, object] = json.loads(text)
    return read


def test_a_line_has_its_time_level_logger_and_message() -> None:
    line = written('%s says "no"\nand more', "é", level=logging.WARNING, exc_info=None)
    at = datetime.fromisoformat(str(line.pop("time")))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert line == {"level": "warning", "logger": "modelyard.some", "message": 'é says "no"\nand more'}


def test_fields_and_an_exception_are_told() -> None:
    try:
        int("broken")
    except ValueError as error:
        told = (type(error), error, error.__traceback__)
    line = written("it failed", exc_info=told, extra={FIELDS: {"status": 500}})
    assert line["status"] == 500
    assert "ValueError: invalid literal" in str(line["exception"])
    assert "Traceback" in str(line["exception"])


def test_a_line_about_a_request_has_its_ids() -> None:
    token = current_request.set(RequestLabels("req_1", "mine", "a" * 32, "b" * 16))
    try:
        line = written("hello", exc_info=None)
    finally:
        current_request.reset(token)
    assert (line["request_id"], line["client_request_id"]) == ("req_1", "mine")
    assert (line["trace_id"], line["span_id"]) == ("a" * 32, "b" * 16)
    assert "request_id" not in written("afterwards", exc_info=None)
