"""Lines of replicas' logs, on their way to the collector: they are sent as this process's own are, and not written, as
what replicas log is in files of their own.

Owns who wants them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from modelyard.protocol import Logged
from modelyard.telemetry.log_lines import NO_REQUEST, LogLine, RequestLabels, ids_of

LISTENERS: list[Callable[[LogLine], None]] = []
"""Each gets every line of replicas that are connected to from now on."""


def pass_on(line: Logged, replica_id: str, request: RequestLabels | None) -> None:
    """Tells a line that a replica has sent. `request`: that it is about; None: no single one."""
    labels = request or NO_REQUEST
    exception = {"exception": line.exception} if line.exception else {}
    told = LogLine(
        line.time_ns,
        logging.getLevelName(line.level).lower(),
        line.logger,
        line.message,
        {"replica_id": replica_id, **ids_of(labels), **exception},
        labels.trace_id,
        labels.span_id,
    )
    for listen in LISTENERS:
        listen(told)
