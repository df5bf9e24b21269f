"""How much somebody has used of late: a level for each name, which falls at a steady rate.

Owns the levels and their number. What a level means, and what happens above it, is for those who hold them.
"""

from __future__ import annotations

from collections import OrderedDict

from modelyard.clock import Clock

MOST_KEPT = 10_000
"""Names that are remembered; beyond it the one that was used longest ago is forgotten."""


class Levels:
    """Levels by name, never below 0. All that a name has is two numbers."""

    def __init__(self, clock: Clock, fall_per_s: float) -> None:
        self._clock = clock
        self._fall_per_s = fall_per_s
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def of(self, name: str) -> float:
        """The level now."""
        level, at = self._levels.get(name, (0.0, 0.0))
        return max(0.0, level - (self._clock.monotonic() - at) * self._fall_per_s)

    def add(self, name: str, amount: float) -> float:
        """Raises the level; what it is then. `amount` may be negative: what was added and not used."""
        level = max(0.0, self.of(name) + amount)
        self._levels[name] = (level, self._clock.monotonic())
        self._levels.move_to_end(name)
        while len(self._levels) > MOST_KEPT:
            self._levels.popitem(last=False)
        return level
