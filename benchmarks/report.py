"""Medians, ratios and bounds, printed so that a reader sees both sides of a comparison; at last all bounds of a run.

Owns the list of what was held against a bound in this process.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

MIB = 1024**2
RESULTS = Path(__file__).parent / "results"
RESAMPLES = 5000


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure beside what is promised of it. `benchmark`: that took it."""

    benchmark: str
    words: str
    figure: str
    promised: str
    kept: bool

    @property
    def row(self) -> str:
        """Of a table; what was missed is seen at once."""
        verdict = "met" if self.kept else "**missed**"
        return f"| {self.benchmark} | {self.words} | {self.promised} | {self.figure} | {verdict} |"


class Bounds:
    """All that were checked, in order. `benchmark`: the one that runs."""

    def __init__(self) -> None:
        self.benchmark = ""
        self.all: list[Bound] = []

    def check(self, words: str, figure: str, promised: str, kept: bool) -> bool:
        """Notes one; returns `kept`."""
        self.all.append(Bound(self.benchmark, words, figure, promised, kept))
        return kept

    def table(self) -> str:
        """All of them."""
        head = "| benchmark | figure | aimed at | this run | |\n|---|---|---|---|---|"
        return "\n".join([head, *(bound.row for bound in self.all), ""])

    def write(self, how: str) -> str:
        """Writes all that were checked so far to `results`; the page. `how`: when, and on what machine."""
        missed = sum(not bound.kept for bound in self.all)
        page = f"# Targets\n\n{how}; {missed} of {len(self.all)} missed.\n\n{self.table()}"
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "targets.md").write_text(page)
        (RESULTS / "targets.json").write_text(json.dumps([asdict(bound) for bound in self.all], indent=1) + "\n")
        return page


BOUNDS = Bounds()


def rounds(usual: int) -> int:
    """How many rounds a benchmark takes: as many as usual, or BENCH_ROUNDS where that is fewer."""
    return max(1, min(usual, int(os.environ.get("BENCH_ROUNDS", usual))))


def spread(values: Sequence[float], unit: str = "ms") -> str:
    """Median with its range."""
    return f"{median(values):8.1f} {unit} [{min(values):.1f}-{max(values):.1f}]"


def ratio(
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> bool:
    """Prints the median of the pairwise ratios; returns whether the promised bound holds."""
    value = median(a / b for a, b in zip(ours, theirs, strict=True))
    kept = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    bounds = [f"{words} {bound:g}" for words, bound in (("at most", at_most), ("at least", at_least)) if bound]
    promised = f"  (promised: {' and '.join(bounds)}: {'kept' if kept else 'MISSED'})" if bounds else ""
    print(f"{name:58} {value:8.2f} x{promised}", flush=True)
    if bounds:
        BOUNDS.check(name, f"{value:.2f} ×", f"{' and '.join(bounds)} ×", kept)
    return kept


def within(name: str, value: float, most: float) -> bool:
    """Prints how far `value` is from 1; returns whether that is at most `most`."""
    kept = abs(value - 1) <= most
    print(
        f"{name:58} {100 * (value - 1):+7.1f} %  (promised: {100 * most:g} %: {'kept' if kept else 'MISSED'})",
        flush=True,
    )
    return BOUNDS.check(name, f"{100 * (value - 1):+.1f} %", f"within {100 * most:g} %", kept)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The bootstrapped 95 % interval of their median, the same each time."""
    chance = random.Random(0)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


def at_most(name: str, value: float, most: float, unit: str, between: tuple[float, float] | None = None) -> bool:
    """Prints a figure; returns whether it is no larger than promised. `between`: the interval that it is known by."""
    kept = value <= most
    known = "" if between is None else f" [{between[0]:.2f} to {between[1]:.2f}]"
    verdict = "kept" if kept else "MISSED"
    print(f"{name:44} {value:8.2f} {unit}{known}  (promised: at most {most:g}: {verdict})", flush=True)
    return BOUNDS.check(name, f"{value:.2f} {unit}{known}", f"at most {most:g}", kept)
