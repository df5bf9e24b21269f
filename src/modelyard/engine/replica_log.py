"""Lines of one replica's log, as they come over a connection to it. Owns how many may come."""

from __future__ import annotations

from modelyard.engine.status_rate import StatusRate
from modelyard.protocol import Logged
from modelyard.telemetry import replica_lines
from modelyard.telemetry.log_lines import RequestLabels, current_request
from modelyard.worker.log_lines import MOST_PER_S

MOST_LINES = 500
LINES_PER_S = 2 * MOST_PER_S
"""How many at once, and how many after that: a worker sends half as many, and what it has kept at first."""


class ReplicaLog:
    """Passes them on, where anybody wants them. `is_wanted`: whether somebody does."""

    def __init__(self, replica_id: str) -> None:
        """`replica_id`: empty: it is no replica, and has no log."""
        self.is_wanted = bool(replica_id and replica_lines.LISTENERS)
        self._replica_id = replica_id
        self._rate = StatusRate("lines of its log", MOST_LINES, LINES_PER_S)

    def labels(self) -> RequestLabels | None:
        """By what lines about the request are found that the running task sends; None: nobody looks for them."""
        return current_request.get() if self.is_wanted else None

    def take(self, line: Logged, about: RequestLabels | None) -> None:
        """Passes one on. Raises BrokenStream when more come than a worker sends."""
        self._rate.take()
        replica_lines.pass_on(line, self._replica_id, about)
