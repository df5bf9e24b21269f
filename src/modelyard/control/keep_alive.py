"""How long an idle replica is worth its memory, learned from the gaps between requests. No clock, no I/O.

Owns what was learned of all clusters together, and the choice. Reads and writes no replica.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from modelyard.units import GIB

LEAST_GAP_S = 1.0
"""Shorter ones say nothing about how long to wait."""
BINS_PER_DOUBLING = 2
BINS = 36
"""From a second to three days, each some 1.4 times as long as the one before."""
NEVER = BINS
"""The bin of what was too long to be seen."""
LENGTHS_S = tuple(2 ** (number / BINS_PER_DOUBLING) for number in range(BINS + 1))
"""Where each bin begins, in seconds; what is in the last has no end."""
MIDDLES_S = tuple(length_s * 2 ** (0.5 / BINS_PER_DOUBLING) for length_s in LENGTHS_S)
LEAST_S = 64.0
"""No shorter time is chosen, where a bin begins: a minute is billed in any case."""
KEPT = 0.97
"""Of the weight of a cluster's gaps with each newer one: some thirty count."""
OTHERS = 2.0
"""As many gaps as those of all other clusters count beside a cluster's own."""
MOST_TOLD = 20_000.0
"""Gaps of all clusters after the same one beyond which older ones count half."""


@dataclass(eq=False, slots=True)
class Gaps:
    """One cluster's. `weights`: by bin; `latest`: the bin of the latest gap, None before there was one."""

    weights: dict[int, float] = field(default_factory=dict)
    latest: int | None = None


class KeepAlive:
    """What the gaps of all clusters say of each. `worth_gb_s`: for how many GB times seconds of idle memory a cold
    start may be spared."""

    def __init__(self, worth_gb_s: float) -> None:
        self._worth_gb_s = worth_gb_s
        self._after = [[1.0 / (BINS + 1)] * (BINS + 1) for _ in range(BINS + 2)]
        """By the bin of the gap before, the last for none: how often each bin came next."""

    def learn(self, gaps: Gaps, seen_s: Iterable[float]) -> None:
        """Takes gaps of a cluster, in order."""
        for gap_s in seen_s:
            number = bin_of(gap_s)
            row = self._after[row_of(gaps)]
            row[number] += 1.0
            if sum(row) > MOST_TOLD:
                row[:] = [each / 2 for each in row]
            gaps.weights = {known: KEPT * weight for known, weight in gaps.weights.items()}
            gaps.weights[number] = gaps.weights.get(number, 0.0) + 1.0
            gaps.latest = number

    def choose_s(self, gaps: Gaps, memory_bytes: int, most_s: float) -> float:
        """For how long a replica is to stay when it becomes idle, from LEAST_S to `most_s` (which wins): the time after
        which memory held in vain, and cold starts, cost the least that is to be expected."""
        row = self._after[row_of(gaps)]
        share = OTHERS / sum(row)
        weights = [share * each for each in row]
        for number, weight in gaps.weights.items():
            weights[number] += weight
        size_gb = memory_bytes / GIB
        left = sum(weights)
        held_s = 0.0
        best_s, least = 0.0, math.inf
        for number, weight in enumerate(weights):
            length_s = LENGTHS_S[number]
            cost = size_gb * (held_s + left * length_s) + self._worth_gb_s * left
            if length_s >= LEAST_S and cost < least:
                best_s, least = length_s, cost
            if length_s >= most_s:
                break
            held_s += weight * MIDDLES_S[number]
            left -= weight
        return min(max(best_s, LEAST_S), most_s)


def bin_of(gap_s: float) -> int:
    """The bin of a gap."""
    return min(NEVER, max(0, math.floor(BINS_PER_DOUBLING * math.log2(max(gap_s, LEAST_GAP_S)))))


def row_of(gaps: Gaps) -> int:
    """The row of what comes after a cluster's latest gap."""
    return BINS + 1 if gaps.latest is None else gaps.latest
