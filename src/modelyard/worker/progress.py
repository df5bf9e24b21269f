"""How far a call has got: in the worker's log, for `modelyard logs`, and to a client that streams.

Owns the words, and the rate at which they are logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

LOG_EVERY_S = 2.0
"""Steps of a small model take milliseconds: a line for each would bury everything else."""


class StepLog:
    """The `progress` of one call: logs its first and last step, and others at most every `LOG_EVERY_S`."""

    __slots__ = ("_clock", "_emit", "_logged_at", "_request", "_task")

    def __init__(
        self,
        task: str,
        request: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        emit: Callable[[str], None] | None = None,
    ) -> None:
        """`request`: the id the call has on its connection, where it has one. `clock`: seconds, only ever growing.

        `emit` gets a line for every step.
        """
        self._emit = emit
        self._task = task
        self._request = request
        self._clock = clock
        self._logged_at: float | None = None

    def __call__(self, done: int, total: int) -> None:
        """Notes that `done` of `total` steps are done."""
        if self._emit is not None:
            self._emit(f"step {done}/{total}\n")
        now = self._clock()
        if self._logged_at is None or done >= total or now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            name = self._task if self._request is None else f"{self._task} (request {self._request})"
            log.info("%s: step %d/%d", name, done, total)
