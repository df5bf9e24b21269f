"""Sends traces and log lines to a collector, from a thread of its own, so that no request waits for it.

Owns what waits to be sent: so much at most, of which the newest is dropped. A collector that does not answer costs
nobody anything but that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import httpx

from modelyard.telemetry.log_lines import LogLine, line_of
from modelyard.telemetry.otlp import encode_logs, encode_traces
from modelyard.telemetry.settings import TelemetrySettings
from modelyard.telemetry.spans import Trace

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_WAITING = 2048
"""Traces, and lines, that wait at most. Source: the default of OpenTelemetry's libraries."""
MOST_AT_ONCE = 512
"""That one request to the collector carries."""
EVERY_S = 1.0
"""How long they wait for company."""
TIMEOUT_S = 10.0
LONGEST_PAUSE_S = 30.0
"""Between two tries to reach a collector that does not answer; the first pause is EVERY_S."""
END_S = 3.0
"""How long the last of them may take to be sent when the process ends."""
SAY_AGAIN_S = 60.0
"""How often it is said that something could not be sent."""
TRY_AGAIN = frozenset({429, 502, 503, 504})
"""Answers after which the same is sent again. Source: OTLP/HTTP, retryable responses."""


class Outbox(Generic[T]):
    """What waits to be sent to one address. Any thread may `add`."""

    def __init__(self, url: str, encode: Callable[[Sequence[T], Mapping[str, str]], bytes]) -> None:
        self.url = url
        self.encode = encode
        self.waiting: deque[T] = deque()
        self.dropped = 0
        """Since it was last told."""

    def add(self, item: T) -> None:
        """Sends it soon, unless too much waits already."""
        if len(self.waiting) < MOST_WAITING:
            self.waiting.append(item)
        else:
            self.dropped += 1

    def oldest(self) -> list[T]:
        """What is sent next; it waits until `forget`."""
        return [self.waiting[place] for place in range(min(MOST_AT_ONCE, len(self.waiting)))]

    def forget(self, count: int) -> None:
        """The oldest have been sent, or never will be."""
        for _ in range(count):
            self.waiting.popleft()


class Exporter:
    """One for a process; `start` it, and `close` it when nothing more will come."""

    def __init__(self, settings: TelemetrySettings, *, every_s: float = EVERY_S) -> None:
        self._settings = settings
        self._every_s = every_s
        self._traces = None if settings.traces_url is None else Outbox(settings.traces_url, encode_traces)
        self._logs = None if settings.logs_url is None else Outbox(settings.logs_url, encode_logs)
        self._outboxes: list[Outbox[Any]] = [each for each in (self._traces, self._logs) if each is not None]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._pause_s = every_s
        self._said_at = -SAY_AGAIN_S
        self.sampler = settings.sampler

    @property
    def takes_traces(self) -> bool:
        """Whether traces are sent anywhere."""
        return self._traces is not None

    @property
    def takes_logs(self) -> bool:
        """Whether lines of the log are sent anywhere."""
        return self._logs is not None

    def add_trace(self, trace: Trace) -> None:
        """Sends a trace that has ended."""
        if self._traces is not None:
            self._traces.add(trace)

    def add_line(self, line: LogLine) -> None:
        """Sends a line of the log."""
        if self._logs is not None:
            self._logs.add(line)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def close(self) -> None:
        """Sends what waits, within END_S, and ends. Blocking."""
        self._ending.set()
        self._thread.join(END_S)

    def _run(self) -> None:
        with httpx.Client(timeout=TIMEOUT_S, headers=dict(self._settings.headers)) as client:
            while not self._ending.wait(self._pause_s):
                self._send_all(client)
            self._send_all(client)

    def _send_all(self, client: httpx.Client) -> None:
        problems = [problem for outbox in self._outboxes if (problem := self._send(client, outbox))]
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S) if problems else self._every_s
        dropped = sum(outbox.dropped for outbox in self._outboxes)
        if (problems or dropped) and time.monotonic() - self._said_at >= SAY_AGAIN_S:
            self._said_at = time.monotonic()
            for outbox in self._outboxes:
                outbox.dropped = 0
            why = "; ".join(problems) or "they come faster than they are sent"
            log.warning("traces and logs cannot all be sent, %d were dropped: %s", dropped, why)

    def _send(self, client: httpx.Client, outbox: Outbox[Any]) -> str | None:
        """Sends what waits in one; why it could not be sent, None where it was."""
        while batch := outbox.oldest():
            try:
                body = outbox.encode(batch, self._settings.resource)
                answer = client.post(outbox.url, content=body, headers={"content-type": "application/json"})
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                return f"{outbox.url} does not answer: {type(error).__name__}"
            if answer.status_code in TRY_AGAIN:
                return f"{outbox.url} answered with status {answer.status_code}"
            outbox.forget(len(batch))
            if not answer.is_success:
                outbox.dropped += len(batch)
                return f"{outbox.url} answered with status {answer.status_code}: {answer.text[:200]}"
        return None


class ExportedLog(logging.Handler):
    """Has each line of the log sent too."""

    def __init__(self, exporter: Exporter) -> None:
        super().__init__()
        self._exporter = exporter

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record; in the thread and task that made it."""
        try:
            self._exporter.add_line(line_of(record))
        except Exception:  # noqa: BLE001 - of whoever logs: the library's own handlers do the same
            self.handleError(record)
