"""Time as the rest of the code asks for it, so that tests can hand in their own. Owns no state."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Two clocks: `now` for what is stored and shown, `monotonic` for intervals and deadlines."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    """Not a method around it: every request asks several times."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SteadyClock:
    """The wall clock as it was when this was made, carried on by the monotonic one: setting the machine's clock moves
    nothing, so that the difference of two moments is the time that passed between them. What is billed goes by it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic = clock.monotonic
        self._began_at = clock.now()
        self._began = clock.monotonic()

    def now(self) -> datetime:
        return self._began_at + timedelta(0, self.monotonic() - self._began)


def iso(moment: datetime) -> str:
    """ISO 8601 UTC with milliseconds and `Z`, as the wire contract writes every timestamp."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
