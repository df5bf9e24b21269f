"""How long requests may wait in a cluster's queue. Owns the one timer for all of them."""

from __future__ import annotations

import asyncio
from typing import Any

from modelyard.errors import DeadlineExceeded


class QueueDeadlines:
    """How long each request may wait for a slot. One timer for all: one for each would take longer to set than the rest
    of its wait takes."""

    def __init__(self) -> None:
        self._ends: dict[asyncio.Future[Any], tuple[float, float]] = {}
        """By waiter: when its time is over by the loop's clock, and how long it was."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiter: asyncio.Future[Any], deadline_s: float) -> None:
        """Fails the waiter with DeadlineExceeded when it has not got a slot within `deadline_s`."""
        loop = waiter.get_loop()
        ends_at = loop.time() + deadline_s
        self._ends[waiter] = (ends_at, deadline_s)
        if self._timer is None or ends_at < self._timer.when():
            self._set_timer(loop, ends_at)

    def remove(self, waiter: asyncio.Future[Any]) -> None:
        """It waits no more."""
        del self._ends[waiter]

    def _set_timer(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for waiter, (ends_at, deadline_s) in self._ends.items():
            if ends_at <= now and not waiter.done():
                message = f"No replica became free within {deadline_s:.0f} s."
                waiter.set_exception(DeadlineExceeded(message, cause="queue"))
        if later := [ends_at for ends_at, _ in self._ends.values() if ends_at > now]:
            self._set_timer(loop, min(later))
