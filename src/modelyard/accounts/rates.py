"""How many requests a key may still make. Owns a counter per key, for the present minute only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.clock import Clock
from modelyard.errors import RateLimited
from modelyard.records.accounts import Key

WINDOW_S = 60.0
UNLIMITED = 1_000_000
"""What an unlimited key is told: so much that no client ever waits for it."""
SWEEP_AT_LEAST = 1000
"""Keys whose windows are kept without looking which of them have gone quiet."""


@dataclass(eq=False, slots=True)
class RateWindow:
    """One key's present minute, on the monotonic clock."""

    started: float
    used: int = 0


class RateLimiter:
    """A fixed window of one minute per key, from its first request."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        """`per_minute`: for keys without a limit of their own; 0: unlimited."""
        self._per_minute = per_minute
        self._clock = clock
        self._windows: dict[str, RateWindow] = {}
        self._sweep_at = SWEEP_AT_LEAST

    def take(self, key: Key) -> Mapping[str, str]:
        """Counts one request; returns the `ratelimit-*` headers. Raises RateLimited, and then counts nothing.

        A limit that has changed holds at once, for the minute that has begun too.
        """
        limit = self._per_minute if key.rate_limit is None else key.rate_limit
        if not limit:
            return UNLIMITED_HEADERS
        now = self._clock.monotonic()
        window = self._windows.get(key.id)
        if window is None or now - window.started >= WINDOW_S:
            window = self._windows[key.id] = RateWindow(now)
            self._sweep(now)
        left_s = max(1, math.ceil(window.started + WINDOW_S - now))
        if window.used >= limit:
            raise RateLimited(
                f"This key may make {limit} requests per minute. Try again in {left_s} s.",
                limit=limit,
                retry_after_s=left_s,
            )
        window.used += 1
        return headers(limit, limit - window.used, left_s)

    def _sweep(self, now: float) -> None:
        """Forgets keys that have gone quiet, each time the table has doubled: it stays as large as the traffic."""
        if len(self._windows) >= self._sweep_at:
            self._windows = {key: w for key, w in self._windows.items() if now - w.started < WINDOW_S}
            self._sweep_at = max(SWEEP_AT_LEAST, 2 * len(self._windows))


def headers(limit: int, remaining: int, reset_s: int) -> Mapping[str, str]:
    """How clients are told of a limit. `reset_s`: seconds until the minute is over."""
    return {
        "ratelimit-limit": str(limit),
        "ratelimit-remaining": str(remaining),
        "ratelimit-reset": str(reset_s),
    }


UNLIMITED_HEADERS = headers(UNLIMITED, UNLIMITED, 0)
