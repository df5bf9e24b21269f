"""What a batch costs beside its inputs, learned from the batches themselves.

A pass costs so much however small it is, and so much for each character; padding is paid like text. Their ratio tells
which inputs are better run together, and it differs from model to model and from machine to machine by a factor of 100.
Owns that ratio; knows no calls.
"""

from __future__ import annotations

import math

LEAST_LENGTH = 64.0
"""Shorter differences are in the noise of a clock."""
UNKNOWN_LENGTH = LEAST_LENGTH
"""What is assumed before passes of different sizes have been seen: a replica takes no more memory before it has learned
than afterwards."""
SPREAD = 4.0
"""The sizes must differ by this factor before anything is read from them."""
SHARE = 20.0
"""A batch of this many times the ratio gains a twentieth at most by growing further. Measured with a classifier of
4 × 256 on a CPU: batches of 500 tokens and more were no faster for each token than smaller ones."""


class BatchCosts:
    """The fastest batch that was seen of each size, by powers of two: what else ran on the machine only slows."""

    def __init__(self) -> None:
        self._fastest: dict[int, tuple[int, float]] = {}
        self.pass_length = UNKNOWN_LENGTH

    def add(self, size: int, seconds: float) -> None:
        """A batch of this size, rows times the longest length, has run alone."""
        if size <= 0 or seconds <= 0:
            return
        place = size.bit_length()
        known = self._fastest.get(place)
        if known is None or seconds / size < known[1] / known[0]:
            self._fastest[place] = size, seconds
            self.pass_length = max(LEAST_LENGTH, fit_pass_length(list(self._fastest.values())))

    def forget(self) -> None:
        """The machine, or the model's share of it, is another one from now on."""
        self._fastest.clear()
        self.pass_length = UNKNOWN_LENGTH

    @property
    def worthwhile_size(self) -> float:
        """The size beyond which a batch hardly gains by growing."""
        return SHARE * self.pass_length


def fit_pass_length(seen: list[tuple[int, float]]) -> float:
    """The length that costs as much as a pass of nothing, by the line of least relative error through (size, seconds).

    Infinite where larger batches take no longer; UNKNOWN_LENGTH while the sizes are too much alike.
    """
    sizes = [size for size, _ in seen]
    if not seen or max(sizes) < SPREAD * min(sizes):
        return UNKNOWN_LENGTH
    weights = [seconds**-2 for _, seconds in seen]
    total = sum(weights)
    mean_size = sum(weight * size for weight, size in zip(weights, sizes, strict=True)) / total
    mean_s = sum(weight * seconds for weight, (_, seconds) in zip(weights, seen, strict=True)) / total
    spread = sum(weight * (size - mean_size) ** 2 for weight, size in zip(weights, sizes, strict=True))
    common = sum(
        weight * (size - mean_size) * (seconds - mean_s) for weight, (size, seconds) in zip(weights, seen, strict=True)
    )
    each_s = common / spread
    return math.inf if each_s <= 0 else (mean_s - each_s * mean_size) / each_s
