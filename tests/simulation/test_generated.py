"""Traces that are drawn: the shapes that they promise."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from modelyard.simulation.generated import SHAPES, TraceSize, generate

SIZE = TraceSize(models=1000, requests=100_000)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_seed_draws_one_trace_of_about_the_size_that_is_asked_for(shape: str) -> None:
    trace, again, other = (generate(shape, seed, SIZE) for seed in (7, 7, 8))
    assert (trace.at_s == again.at_s).all()
    assert (trace.model == again.model).all()
    assert len(trace) != len(other) or (trace.at_s != other.at_s).any()
    assert abs(len(trace) / SIZE.requests - 1) < 0.1
    assert (np.diff(trace.at_s) >= 0).all()
    assert 0 <= trace.at_s.min() <= trace.at_s.max() <= SIZE.span_s


def test_popularity_goes_with_the_rank() -> None:
    counts = [count for _, count in Counter(generate("poisson", 1, SIZE).model.tolist()).most_common()]
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.2)
    assert counts[9] / counts[99] == pytest.approx(10, rel=0.3)


def test_bursts_are_burstier_and_waves_are_waves() -> None:
    def variation(shape: str) -> float:
        trace = generate(shape, 3, SIZE)
        gaps_s = [np.diff(trace.at_s[trace.model == number]) for number in range(SIZE.models)]
        return float(np.median([each.std() / each.mean() for each in gaps_s if len(each) > 30]))

    assert variation("poisson") == pytest.approx(1.0, abs=0.1)
    assert variation("bursty") > 2
    trace = generate("diurnal", 3, SIZE)
    busiest = Counter(trace.model.tolist()).most_common(1)[0][0]
    by_hour = np.histogram(trace.at_s[trace.model == busiest], bins=24, range=(0, SIZE.span_s))[0]
    assert by_hour.min() < 0.3 * by_hour.max()


def test_most_applications_of_azure_are_hardly_ever_invoked_and_few_have_nearly_all() -> None:
    size = TraceSize(models=2000, requests=2_000_000)
    counts = np.bincount(generate("azure", 1, size).model, minlength=size.models)
    assert (counts <= 24).mean() == pytest.approx(0.45, abs=0.03)
    assert (counts <= 1440).mean() == pytest.approx(0.81, abs=0.03)
    assert np.sort(counts)[-round(0.19 * size.models) :].sum() / counts.sum() > 0.85
