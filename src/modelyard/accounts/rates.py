"""How many requests a key may still make. Owns a counter per key, for the present minute only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.clock import Clock
from modelyard.errors import RateLimited

WINDOW_S = 60.0
SWEEP_AT_LEAST = 1000
"""Keys whose windows are kept without looking which of them have gone quiet."""


@dataclass(eq=False, slots=True)
class Window:
    """One key's present minute, on the monotonic clock."""

    started: float
    used: int = 0


class RateLimiter:
    """A fixed window of one minute per key, from its first request."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        """`per_minute` 0: unlimited."""
        self._limit = per_minute
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self._sweep_at = SWEEP_AT_LEAST

    def take(self, key_id: str) -> Mapping[str, str]:
        """Counts one request; returns the `ratelimit-*` headers. Raises RateLimited.

        An unlimited key is told a limit so large that no client ever waits for it.
        """
        if not self._limit:
            return {"ratelimit-limit": "1000000", "ratelimit-remaining": "1000000", "ratelimit-reset": "0"}
        now = self._clock.monotonic()
        window = self._windows.get(key_id)
        if window is None or now - window.started >= WINDOW_S:
            window = self._windows[key_id] = Window(now)
            self._sweep(now)
        left_s = max(1, math.ceil(window.started + WINDOW_S - now))
        if window.used >= self._limit:
            raise RateLimited(
                f"This key may make {self._limit} requests per minute. Try again in {left_s} s.", retry_after_s=left_s
            )
        window.used += 1
        return {
            "ratelimit-limit": str(self._limit),
            "ratelimit-remaining": str(self._limit - window.used),
            "ratelimit-reset": str(left_s),
        }

    def _sweep(self, now: float) -> None:
        """Forgets keys that have gone quiet, each time the table has doubled: it stays as large as the traffic."""
        if len(self._windows) >= self._sweep_at:
            self._windows = {key: w for key, w in self._windows.items() if now - w.started < WINDOW_S}
            self._sweep_at = max(SWEEP_AT_LEAST, 2 * len(self._windows))
