"""What one request did, piece by piece: a trace's spans, noted while it runs and handed over together at its end.

Owns their times, in nanoseconds of the monotonic clock, and the wall clock's at the trace's beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import IntEnum

from modelyard.telemetry.context import TraceContext, new_span_id

Attribute = str | bool | int | float
MOST_SPANS = 128
"""Of one trace; those beyond are not kept."""


class Kind(IntEnum):
    """Which side of a call a span is. Source: opentelemetry.proto.trace.v1.Span.SpanKind."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Trace:
    """One request's spans, the first of which all others are below. For one thread."""

    __slots__ = ("_hand_over", "id", "root", "spans", "wall_ns")

    def __init__(self, name: str, trace_id: str, caller_id: str, hand_over: Callable[[Trace], None]) -> None:
        """`caller_id`: of the span that has asked; empty: the trace begins here. `hand_over`: gets the trace at its
        end."""
        self._hand_over = hand_over
        now = time.monotonic_ns()
        self.id = trace_id
        self.wall_ns = time.time_ns() - now
        """The wall clock's time at the monotonic clock's 0."""
        self.root = Span(self, name, Kind.SERVER, caller_id, now)
        self.spans = [self.root]

    def end(self) -> None:
        """Ends what goes on, and hands all of it over."""
        now = time.monotonic_ns()
        for span in self.spans:
            span.end(now)
        self._hand_over(self)


class Span:
    """One piece of work. `parent_id` empty: nobody has asked for it. `ended_ns` 0: it goes on. `error`: why it failed;
    empty: it did not."""

    __slots__ = ("_trace", "attributes", "began_ns", "ended_ns", "error", "id", "kind", "name", "parent_id")

    def __init__(self, trace: Trace, name: str, kind: Kind, parent_id: str, began_ns: int) -> None:
        self._trace = trace
        self.id = new_span_id()
        self.name = name
        self.kind = kind
        self.parent_id = parent_id
        self.began_ns = began_ns
        self.ended_ns = 0
        self.error = ""
        self.attributes: dict[str, Attribute] = {}

    @property
    def context(self) -> TraceContext:
        """What others are told who work for it."""
        return TraceContext(self._trace.id, self.id, is_sampled=True)

    def open(self, name: str, kind: Kind = Kind.INTERNAL, began_ns: int | None = None) -> Span:
        """Begins a piece of this one, at that moment or now."""
        began_ns = time.monotonic_ns() if began_ns is None else began_ns
        span = Span(self._trace, name, kind, self.id, began_ns)
        if len(self._trace.spans) < MOST_SPANS:
            self._trace.spans.append(span)
        return span

    def end(self, at_ns: int | None = None, error: BaseException | None = None) -> None:
        """Ends it, at that moment or now. Idempotent."""
        if not self.ended_ns:
            self.ended_ns = time.monotonic_ns() if at_ns is None else max(at_ns, self.began_ns)
            if error is not None:
                self.error = type(error).__name__

    def note(self, attributes: Mapping[str, Attribute | None]) -> None:
        """Adds attributes; those that are None are unknown, and not added."""
        self.attributes.update({name: value for name, value in attributes.items() if value is not None})
