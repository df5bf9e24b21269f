"""The learned keep-alive beside fixed timeouts, on traces that it was not made with; a whole day of a large fleet."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.control.policy import Policy
from modelyard.simulation.engine import Fleet
from modelyard.simulation.generated import TraceSize, generate
from modelyard.simulation.outcome import Outcome
from modelyard.simulation.replay import Setting, replay
from modelyard.units import GIB

FIXED_S = (60, 300, 900, 1800, 3600, 7200)
HOUR_S = 3600.0


def compare(
    shape: str, seed: int, size: TraceSize, fixed_s: tuple[int, ...], worth: float, tick_s: float = 1.0
) -> tuple[Outcome, float]:
    """What the learned keep-alive comes to, and the share of cold starts that fixed timeouts have with its memory: on
    the line between the two of them that have a little more and a little less."""
    trace = generate(shape, seed, size)
    fleet = Fleet(nodes=60)
    fixed = [replay(trace, Setting(fleet, Policy(idle_timeout_s=each, tick_s=tick_s))) for each in fixed_s]
    learning = Policy(idle_timeout_s=max(fixed_s), cold_start_gb_s=worth, tick_s=tick_s)
    learned = replay(trace, Setting(fleet, learning))
    hours = [each.gb_hours for each in fixed]
    assert hours[0] < learned.gb_hours < hours[-1]
    return learned, float(np.interp(learned.gb_hours, hours, [each.cold_share for each in fixed]))


def test_what_is_learned_saves_cold_starts_at_equal_memory() -> None:
    size = TraceSize(models=40, requests=700, span_s=3 * HOUR_S)
    learned, fixed_share = compare("azure", 71, size, (60, 600, 3600), 2000.0, tick_s=10.0)
    assert learned.cold_share < fixed_share


@pytest.mark.verify(part="simulation")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("shape", "seed"), [("azure", 2019), ("bursty", 31), ("poisson", 47)])
@pytest.mark.parametrize("worth", [1000.0, 4000.0])
def test_a_day_has_fewer_cold_starts_at_equal_memory(shape: str, seed: int, worth: float) -> None:
    learned, fixed_share = compare(shape, seed, TraceSize(models=300, requests=10_000), FIXED_S, worth)
    print(
        f"{shape}: {100 * learned.cold_share:.2f} % cold, fixed {100 * fixed_share:.2f} %, {learned.gb_hours:.0f} GB h"
    )
    assert learned.cold_share < fixed_share


@pytest.mark.verify(part="simulation")
@pytest.mark.timeout(3600)
def test_a_day_of_a_hundred_thousand_models_on_a_thousand_nodes_takes_ten_minutes_of_a_core() -> None:
    trace = generate("poisson", 1, TraceSize(models=100_000, requests=1_000_000))
    fleet = Fleet(nodes=1000, node_bytes=64 * GIB, fails_every_s=30 * 86_400.0)
    outcome = replay(trace, Setting(fleet, Policy(idle_timeout_s=600), seed=1))
    print(f"{outcome.requests} requests, {outcome.launches} launches, {outcome.cpu_s:.0f} s of CPU")
    assert outcome.requests >= 1_000_000
    assert outcome.launches >= 200_000
    assert outcome.fullest <= 1.0
    assert not outcome.failed
    assert outcome.cpu_s < 600
