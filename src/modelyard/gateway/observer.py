"""Follows inferences for who operates the server: a trace of each, where traces are sent, and a line of the log, where
that is JSON. Owns the names of what is told of a request; nothing its client has written or read is.
"""

from __future__ import annotations

import logging
from contextvars import Token

from modelyard.gateway.surfaces.base import Surface
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Usage
from modelyard.telemetry.context import TRACEPARENT, new_trace_id, read_traceparent
from modelyard.telemetry.exporter import Exporter
from modelyard.telemetry.log_lines import FIELDS, RequestLabels, current_request
from modelyard.telemetry.spans import Attribute, Span, Trace

log = logging.getLogger("modelyard.requests")

REQUEST_ID = b"x-request-id"
MOST_ID_CHARS = 128
"""Of what a client calls its request; more is not kept."""


class Observer:
    """Follows the inferences of one process."""

    def __init__(self, exporter: Exporter | None, *, logs_requests: bool) -> None:
        """`exporter`: gets the traces. `logs_requests`: each inference that is over is a line of the log."""
        self._exporter = exporter if exporter is not None and exporter.takes_traces else None
        self.logs_requests = logs_requests

    def begin(self, http: HttpExchange, surface: Surface, request_id: str) -> Observed:
        """Follows one request from now on, in the running task."""
        return Observed(self, self._begin_trace(http), surface.name, request_id, client_id_of(http))

    def _begin_trace(self, http: HttpExchange) -> Trace | None:
        """None: the trace is one that is not kept."""
        if self._exporter is None:
            return None
        caller = read_traceparent(http.header(TRACEPARENT.encode()))
        trace_id = new_trace_id() if caller is None else caller.trace_id
        if not self._exporter.sampler.keeps(trace_id, caller):
            return None
        return Trace("inference", trace_id, "" if caller is None else caller.span_id, self._exporter.add_trace)


class Observed:
    """One request that is followed. `account_id`: whose it is, once that is known."""

    __slots__ = ("_client_id", "_labelled", "_observer", "_request_id", "_surface", "_trace", "account_id")

    def __init__(self, observer: Observer, trace: Trace | None, surface: str, request_id: str, client_id: str) -> None:
        self._observer = observer
        self._surface = surface
        self._request_id = request_id
        self._client_id = client_id
        self._trace = trace
        self.account_id: str | None = None
        self._labelled: Token[RequestLabels | None] = current_request.set(self._labels())

    @property
    def span(self) -> Span | None:
        """What its pieces are below; None: its trace is not kept."""
        return None if self._trace is None else self._trace.root

    def rename(self, request_id: str) -> None:
        """It has another id from now on: its next try."""
        self._request_id = request_id
        current_request.set(self._labels())

    def end(self, model_id: str, status: int, took_s: float, usage: Usage | None) -> None:
        """It is over. `model_id` empty: no model was found; `usage` None: nothing was answered."""
        if self._observer.logs_requests:
            told: dict[str, Attribute | None] = {
                "surface": self._surface,
                "model": model_id or None,
                "status": status,
                "took_s": round(took_s, 6),
                "account_id": self.account_id,
                "queued_s": None if usage is None else usage.queued_us / 1e6,
                "prompt_tokens": None if usage is None else usage.prompt_tokens,
                "new_tokens": None if usage is None else usage.new_tokens,
            }
            log.info("inference", extra={FIELDS: {name: each for name, each in told.items() if each is not None}})
        if self._trace is not None:
            self._end_trace(self._trace, model_id, status, usage)
        current_request.reset(self._labelled)

    def _end_trace(self, trace: Trace, model_id: str, status: int, usage: Usage | None) -> None:
        """Source of names with a dot: OpenTelemetry's semantic conventions."""
        trace.root.note({
            "http.request.method": "POST",
            "http.response.status_code": status,
            "gen_ai.request.model": model_id or None,
            "gen_ai.usage.input_tokens": None if usage is None else usage.prompt_tokens,
            "gen_ai.usage.output_tokens": None if usage is None else usage.new_tokens,
            "modelyard.surface": self._surface,
            "modelyard.account_id": self.account_id,
            "modelyard.request_id": self._request_id,
            "modelyard.client_request_id": self._client_id or None,
        })  # fmt: skip
        if status >= 500:
            trace.root.error = str(status)
        trace.end()

    def _labels(self) -> RequestLabels:
        if self._trace is None:
            return RequestLabels(self._request_id, self._client_id)
        return RequestLabels(self._request_id, self._client_id, self._trace.id, self._trace.root.id)


def client_id_of(http: HttpExchange) -> str:
    """What a client calls its request, in `x-request-id`; empty where it has no name for it, or one that no line of a
    log should hold."""
    text = http.header(REQUEST_ID) or ""
    return text if len(text) <= MOST_ID_CHARS and text.isascii() and text.isprintable() else ""
