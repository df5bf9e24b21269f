"""What becomes of traces and lines on their way to a collector, and what becomes of the server where there is none."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelyard.telemetry import exporter as module
from modelyard.telemetry.context import new_trace_id
from modelyard.telemetry.exporter import MOST_AT_ONCE, MOST_WAITING, ExportedLog, Exporter
from modelyard.telemetry.log_lines import FIELDS
from modelyard.telemetry.settings import read_telemetry_settings
from modelyard.telemetry.spans import MOST_SPANS, Kind, Trace
from tests.serving import free_port, wait_until
from tests.telemetry.collector import attributes_of, collecting

SOON_S = 0.01


@contextmanager
def sending(url: str, **env: str) -> Iterator[Exporter]:
    exporter = Exporter(read_telemetry_settings(url, env), every_s=SOON_S)
    exporter.start()
    try:
        yield exporter
    finally:
        exporter.close()


def trace(exporter: Exporter, caller_id: str = "") -> Trace:
    return Trace("inference", new_trace_id(), caller_id, exporter.add_trace)


def test_a_trace_arrives_whole_at_its_end() -> None:
    with collecting() as collector:
        with sending(collector.url, OTEL_EXPORTER_OTLP_HEADERS="api-key=k") as exporter:
            began = time.time_ns()
            one = trace(exporter, "1" * 16)
            queue = one.root.open("queue")
            queue.note({"text": "a", "whole": 7, "part": 0.5, "true": True, "unknown": None})
            queue.end()
            asked = one.root.open("replica", Kind.CLIENT)
            asked.end(error=TimeoutError("secret"))
            one.root.open("goes on")
            assert collector.spans() == []
            one.end()
        root, queued, failed, last = collector.spans()
    assert {each["traceId"] for each in (root, queued, failed, last)} == {one.id}
    assert (root["name"], root["kind"], root["parentSpanId"]) == ("inference", Kind.SERVER, "1" * 16)
    assert {each["parentSpanId"] for each in (queued, failed, last)} == {root["spanId"]}
    assert failed["kind"] == Kind.CLIENT
    assert failed["status"] == {"code": 2, "message": "TimeoutError"}
    assert "status" not in queued
    assert {each["key"]: each["value"] for each in queued["attributes"]} == {
        "text": {"stringValue": "a"},
        "whole": {"intValue": "7"},
        "part": {"doubleValue": 0.5},
        "true": {"boolValue": True},
    }
    assert began <= int(root["startTimeUnixNano"]) <= int(queued["startTimeUnixNano"])
    assert (
        int(queued["endTimeUnixNano"]) <= int(last["endTimeUnixNano"]) <= int(root["endTimeUnixNano"]) <= time.time_ns()
    )
    assert collector.headers[0]["api-key"] == "k"
    assert collector.headers[0]["content-type"] == "application/json"


def test_a_line_of_the_log_arrives_with_its_level_and_fields() -> None:
    logger = logging.getLogger("tests.exported")
    with collecting() as collector:
        with sending(collector.url) as exporter:
            logger.addHandler(handler := ExportedLog(exporter))
            logger.warning("it is %s", "late", extra={FIELDS: {"late_s": 2.5}})
            logger.removeHandler(handler)
        (line,) = (each for each in collector.lines() if attributes_of(each)["logger"] == "tests.exported")
    assert (line["severityNumber"], line["severityText"], line["body"]) == (
        13,
        "WARNING",
        {"stringValue": "it is late"},
    )
    assert attributes_of(line)["late_s"] == 2.5
    assert "traceId" not in line


def test_a_line_that_cannot_be_written_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = Exporter(read_telemetry_settings("http://127.0.0.1:4318", {}))
    record = logging.LogRecord("some", logging.WARNING, "", 0, "%d", ("no number",), None)
    ExportedLog(exporter).handle(record)
    assert "no number" in capsys.readouterr().err


def test_what_a_collector_cannot_take_now_is_sent_again_once() -> None:
    with collecting(503, 429) as collector, sending(collector.url, OTEL_LOGS_EXPORTER="none") as exporter:
        trace(exporter).end()
        wait_until(collector.spans)
        assert collector.statuses == []
        trace(exporter).end()
        wait_until(lambda: len(collector.spans()) == 2)


def test_what_a_collector_refuses_is_dropped_and_the_next_is_sent() -> None:
    with collecting(400) as collector, sending(collector.url, OTEL_LOGS_EXPORTER="none") as exporter:
        trace(exporter).end()
        wait_until(lambda: collector.statuses == [])
        (second := trace(exporter)).end()
        (span,) = wait_until(collector.spans)
        assert span["traceId"] == second.id


def test_where_nobody_answers_so_much_waits_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter(read_telemetry_settings(f"http://127.0.0.1:{free_port()}", {}), every_s=SOON_S)
    for _ in range(MOST_WAITING + 5):
        trace(exporter).end()
    outbox = exporter._traces
    assert outbox is not None
    assert (len(outbox.waiting), outbox.dropped) == (MOST_WAITING, 5)
    exporter.start()
    wait_until(lambda: "5 were dropped" in caplog.text)
    exporter.close()
    assert caplog.text.count("cannot all be sent") == 1
    assert len(outbox.waiting) == MOST_WAITING


def test_many_are_sent_in_parts_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_S", 60.0)
    with collecting() as collector:
        exporter = Exporter(read_telemetry_settings(collector.url, {}), every_s=60.0)
        for _ in range(MOST_AT_ONCE + 1):
            trace(exporter).end()
        exporter.start()
        exporter.close()
        assert len(collector.bodies) == 2
        assert len(collector.spans()) == MOST_AT_ONCE + 1


def test_a_trace_has_so_many_spans_at_most() -> None:
    kept: list[Trace] = []
    one = Trace("inference", new_trace_id(), "", kept.append)
    for _ in range(MOST_SPANS + 10):
        one.root.open("try").end()
    one.end()
    assert len(kept[0].spans) == MOST_SPANS
