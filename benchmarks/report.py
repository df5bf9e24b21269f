"""Medians and ratios, printed so that a reader sees both sides of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

MIB = 1024**2


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
    return kept


def within(name: str, value: float, most: float) -> bool:
    """Prints how far `value` is from 1; returns whether that is at most `most`."""
    kept = abs(value - 1) <= most
    print(
        f"{name:58} {100 * (value - 1):+7.1f} %  (promised: {100 * most:g} %: {'kept' if kept else 'MISSED'})",
        flush=True,
    )
    return kept


def at_most(name: str, value: float, most: float, unit: str) -> bool:
    """Prints a figure; returns whether it is no larger than promised."""
    kept = value <= most
    print(f"{name:44} {value:8.2f} {unit}  (promised: at most {most:g}: {'kept' if kept else 'MISSED'})", flush=True)
    return kept
