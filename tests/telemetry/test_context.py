"""The header by which a trace goes on in another service, as W3C has it."""

from __future__ import annotations

import pytest

from modelyard.telemetry.context import TraceContext, new_span_id, new_trace_id, read_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "context"),
    [
        (f"00-{TRACE}-{SPAN}-01", TraceContext(TRACE, SPAN, is_sampled=True)),
        (f"00-{TRACE}-{SPAN}-00", TraceContext(TRACE, SPAN, is_sampled=False)),
        (f"00-{TRACE}-{SPAN}-03", TraceContext(TRACE, SPAN, is_sampled=True)),
        (f"cc-{TRACE}-{SPAN}-01-what comes later", TraceContext(TRACE, SPAN, is_sampled=True)),
        (None, None),
        ("", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE[:-1]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
    ],
)
def test_a_header_that_is_not_valid_is_none(header: str | None, context: TraceContext | None) -> None:
    assert read_traceparent(header) == context


def test_what_is_written_is_read_again() -> None:
    for is_sampled in (True, False):
        context = TraceContext(new_trace_id(), new_span_id(), is_sampled)
        assert read_traceparent(str(context)) == context
