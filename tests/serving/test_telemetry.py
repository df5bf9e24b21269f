"""What a process sends and writes of its inferences, by its settings."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from modelyard.config import Settings
from modelyard.errors import InvalidRequest
from modelyard.gateway.server import configure_logging
from modelyard.protocol import Logged
from modelyard.serving.telemetry import open_exporter, open_observer
from modelyard.telemetry.exporter import ExportedLog
from modelyard.telemetry.replica_lines import LISTENERS, pass_on
from tests.telemetry.collector import attributes_of, collecting


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The process's log without what tests have put there, which setting it up would close."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    yield root
    logging.captureWarnings(False)
    root.handlers = handlers
    root.setLevel(level)


def written(root: logging.Logger) -> io.StringIO:
    """What is written from now on."""
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    stream = io.StringIO()
    handler.setStream(stream)
    return stream


def test_each_line_is_an_object_where_that_is_set_warnings_too(own_log: logging.Logger) -> None:
    configure_logging("info", "json")
    stream = written(own_log)
    logging.getLogger("modelyard.some").info("two\nlines")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    logging.getLogger("modelyard.some").debug("nothing")
    said, warned = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (said["message"], said["level"]) == ("two\nlines", "info")
    assert "DeprecationWarning: old" in warned["message"]


def test_a_line_is_text_where_nothing_is_set(own_log: logging.Logger) -> None:
    configure_logging("info")
    stream = written(own_log)
    logging.getLogger("modelyard.some").info("hello")
    assert stream.getvalue().endswith("INFO    modelyard.some: hello\n")


async def test_nothing_is_sent_and_nobody_follows_where_nothing_is_set(own_log: logging.Logger) -> None:
    async with AsyncExitStack() as stack:
        exporter = open_exporter(stack, Settings(), "srv_1")
        assert exporter is None
        assert open_observer(Settings(), exporter) is None
        observer = open_observer(Settings(log_format="json"), exporter)
        assert observer is not None
        assert observer.logs_requests


async def test_lines_are_sent_until_the_end_with_the_servers_name(own_log: logging.Logger) -> None:
    with collecting() as collector:
        async with AsyncExitStack() as stack:
            settings = Settings(otlp_endpoint=collector.url)
            exporter = open_exporter(stack, settings, "srv_1")
            observer = open_observer(settings, exporter)
            assert observer is not None
            assert not observer.logs_requests
            logging.getLogger("modelyard.some").warning("hello")
            pass_on(Logged(0, 1, logging.INFO, "modelyard.worker", "loaded"), "in_1", None)
        assert LISTENERS == []
        assert [each for each in own_log.handlers if isinstance(each, ExportedLog)] == []
        assert [line["body"]["stringValue"] for line in collector.lines()] == ["hello", "loaded"]
        (body,) = (body for path, body in collector.bodies if path == "/v1/logs")
        assert attributes_of(json.loads(body)["resourceLogs"][0]["resource"])["service.instance.id"] == "srv_1"


async def test_an_endpoint_that_is_none_is_named_at_the_start() -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(InvalidRequest, match="otlp_endpoint"):
            open_exporter(stack, Settings(otlp_endpoint="collector:4318"), "srv_1")
