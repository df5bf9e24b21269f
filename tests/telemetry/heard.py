"""Lines of replicas' logs, kept in place of a collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.telemetry.log_lines import LogLine
from modelyard.telemetry.replica_lines import LISTENERS


@contextmanager
def hearing() -> Iterator[list[LogLine]]:
    """All lines that come of replicas which are connected to in the block."""
    lines: list[LogLine] = []
    LISTENERS.append(lines.append)
    try:
        yield lines
    finally:
        LISTENERS.remove(lines.append)
