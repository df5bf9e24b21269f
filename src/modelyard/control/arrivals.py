"""How often a cluster is asked, as far as its count of requests tells. Pure: no clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT = 0.25
"""Of the latest gap between requests in their mean: what was so a dozen requests ago hardly counts."""


@dataclass(eq=False, slots=True)
class Arrivals:
    """One cluster's. `gap_s`: the mean time between requests, None before there were two."""

    gap_s: float | None = None
    _seen: int = 0
    _seen_at: float | None = None

    def note(self, now: float, total: int) -> None:
        """Takes how many requests there have been in all, at a monotonic time."""
        new = total - self._seen
        if new <= 0:
            return
        if self._seen_at is not None:
            gap_s, kept = (now - self._seen_at) / new, (1 - WEIGHT) ** new
            self.gap_s = gap_s if self.gap_s is None else kept * self.gap_s + (1 - kept) * gap_s
        self._seen, self._seen_at = total, now

    def next_use_s(self, idle_s: float) -> float:
        """When it is likely to be asked next: after the usual gap, and the later, the longer it has been left alone."""
        return max(idle_s, self.gap_s or 0.0)
