"""Which trace a piece of work belongs to, as it travels in headers.

Source: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import random
import re
import secrets

import msgspec

TRACEPARENT = "traceparent"
"""The header's name."""
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INVALID_VERSION = "ff"
_SAMPLED = 1
_chance = random.Random(secrets.randbits(256))  # noqa: S311 - names are no secrets


class TraceContext(msgspec.Struct, frozen=True):
    """A span that others may be children of. `trace_id`: 32 hexadecimal digits; `span_id`: 16 of them."""

    trace_id: str
    span_id: str
    is_sampled: bool

    def __str__(self) -> str:
        """As the header has it."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"


def read_traceparent(text: str | None) -> TraceContext | None:
    """What a `traceparent` header says; None where there is none, or it is not valid: then a new trace begins."""
    found = None if text is None else _FORM.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _INVALID_VERSION or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def new_trace_id() -> str:
    """Names a trace."""
    return f"{_chance.getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    """Names a span."""
    return f"{_chance.getrandbits(64) or 1:016x}"
