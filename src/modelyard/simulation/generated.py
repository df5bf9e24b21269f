"""Traces that are drawn from a seed: who is asked how often, and when.

Owns the shapes and where their figures are from. The same seed and sizes give the same trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from modelyard.simulation.traces import ACCOUNTS, Trace, TracedModel, in_order
from modelyard.units import GIB

DAY_S = 86_400.0
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TraceSize:
    """How large a trace is to be. `requests`: about so many. `span_s`: from the first to the last."""

    models: int = 1000
    requests: int = 20_000
    span_s: float = DAY_S


# --- shapes: the moments of so many requests for each model ---


def poisson(dice: Generator, size: TraceSize) -> tuple[Floats, Ints]:
    """Requests that know nothing of one another, for models as popular as Zipf's law has it."""
    model = np.repeat(np.arange(size.models), zipf_counts(dice, size))
    return dice.uniform(0.0, size.span_s, len(model)), model


def diurnal(dice: Generator, size: TraceSize) -> tuple[Floats, Ints]:
    """The same, more by day than by night: a wave of a day that falls to a tenth. Each model has its own noon."""
    model = np.repeat(np.arange(size.models), zipf_counts(dice, size))
    noon_s = dice.uniform(0.0, DAY_S, size.models)
    at_s = np.zeros(len(model))
    drawn = np.arange(len(model))
    while len(drawn):  # those that the wave does not let through are drawn again
        at_s[drawn] = dice.uniform(0.0, size.span_s, len(drawn))
        level = 0.55 + 0.45 * np.cos(2 * np.pi * (at_s[drawn] - noon_s[model[drawn]]) / DAY_S)
        drawn = drawn[dice.uniform(size=len(drawn)) > level]
    return at_s, model


def bursty(dice: Generator, size: TraceSize) -> tuple[Floats, Ints]:
    """Sessions: a model is asked some twelve times with ten seconds between on average, then not for long."""
    per_session, gap_s = 12.0, 10.0
    counts = zipf_counts(dice, TraceSize(size.models, max(1, round(size.requests / per_session)), size.span_s))
    of_session = np.repeat(np.arange(size.models), counts)
    lengths = dice.geometric(1 / per_session, len(of_session))
    return within(dice.uniform(0.0, size.span_s, len(of_session)), of_session, lengths, gap_s, dice, size.span_s)


def azure(dice: Generator, size: TraceSize) -> tuple[Floats, Ints]:
    """The skew of Azure Functions in 2019: 45 % of applications are invoked once an hour at most, 81 % once a minute at
    most, and the others make 99.6 % of all invocations. Of all, about a fifth come at equal intervals (timers) and two
    fifths in bursts. To get the number of requests that is asked for, the most popular are asked less often.

    Source: M. Shahrad and others, Serverless in the Wild, USENIX ATC 2020, sections 3.2 to 3.4. The shares of timers
    and bursts are rounded.
    """
    ranks = (dice.permutation(size.models) + dice.uniform(size=size.models)) / size.models
    per_day = 10 ** np.interp(ranks, (0.0, 0.45, 0.81, 1.0), np.log10((0.3, 24.0, 1440.0, 1e8)))
    wanted = size.requests * DAY_S / size.span_s
    cap = limit_for(per_day, wanted)
    counts = dice.poisson(np.minimum(per_day, cap) * size.span_s / DAY_S)
    kind = dice.uniform(size=size.models)
    parts = []
    for number in np.flatnonzero(counts):
        count, period_s = int(counts[number]), size.span_s / counts[number]
        if kind[number] < 0.2:
            at_s = dice.uniform(0, period_s) + period_s * np.arange(count)
        elif kind[number] < 0.6:
            at_s = dice.uniform(0, size.span_s, count)
        else:  # gaps whose deviation is some three times their mean
            gaps_s = dice.lognormal(0.0, 1.5, count)
            at_s = np.cumsum(gaps_s) * (size.span_s / gaps_s.sum())
            at_s = (at_s + dice.uniform(0, size.span_s)) % size.span_s
        parts.append((at_s, np.full(count, number)))
    return np.concatenate([at_s for at_s, _ in parts]), np.concatenate([model for _, model in parts])


Shape = Callable[[Generator, TraceSize], tuple[Floats, Ints]]
SHAPES: Mapping[str, Shape] = {"poisson": poisson, "bursty": bursty, "diurnal": diurnal, "azure": azure}
"""By the name that a user gives."""


# --- what they are made of ---


def generate(shape: str, seed: int, size: TraceSize | None = None) -> Trace:
    """The trace of that shape. Models need 0.25 to 8 GB, the logarithm evenly spread; a request takes a replica half a
    second in the middle, the logarithm normal with deviation 1. Raises InvalidRequest when no request is drawn."""
    size = size or TraceSize()
    dice = np.random.default_rng(seed)
    at_s, model = SHAPES[shape](dice, size)
    memory = (GIB * 2 ** dice.uniform(-2, 3, size.models)).astype(np.int64)
    models = [
        TracedModel(f"{shape}/model-{number}", f"account-{number % ACCOUNTS}", int(each))
        for number, each in enumerate(memory)
    ]
    duration_s = dice.lognormal(np.log(0.5), 1.0, len(at_s))
    return in_order(f"{shape}, seed {seed}", models, at_s, model, duration_s, size.span_s)


def zipf_counts(dice: Generator, size: TraceSize) -> Ints:
    """How many of all requests each model gets: the k-th most popular one's chance goes with 1 / k."""
    weights = 1.0 / np.arange(1, size.models + 1)
    return dice.multinomial(size.requests, dice.permutation(weights / weights.sum()))


def within(
    began_s: Floats, model: Ints, lengths: Ints, gap_s: float, dice: Generator, span_s: float
) -> tuple[Floats, Ints]:
    """The requests of sessions, those after the end of the trace left out."""
    gaps_s = dice.exponential(gap_s, lengths.sum())
    ends = np.cumsum(lengths)
    gaps_s[ends - lengths] = 0.0  # each session's first
    passed_s = np.cumsum(gaps_s)
    at_s = np.repeat(began_s - passed_s[ends - lengths], lengths) + passed_s
    kept = at_s < span_s
    return at_s[kept], np.repeat(model, lengths)[kept]


def limit_for(rates: Floats, wanted: float) -> float:
    """The rate to which the highest are cut so that all make `wanted` together; the highest where they make less."""
    low, high = 0.0, float(rates.max())
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(rates, middle).sum() < wanted else (low, middle)
    return high
