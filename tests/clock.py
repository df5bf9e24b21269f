"""The clock of tests: it stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
"""What a new clock shows."""


class HandClock:
    """Stands still until moved; both its clocks move together, unless somebody sets the wall clock."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.set_by_s = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed_s + self.set_by_s)

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s

    def advance(self, seconds: float) -> None:
        self.passed_s += seconds

    def set_wall(self, by_s: float) -> None:
        """Sets the wall clock that much forward; the monotonic one goes on."""
        self.set_by_s += by_s
