"""How many replicas: bounded, up at once, down late, never to and fro."""

import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.autoscaler import Demand, Load, Peak, replicas_for, target_of, wanted_replicas
from modelyard.records.clusters import Capacity

WINDOW_S = 60.0
counts = st.integers(0, 50)
capacities = st.lists(st.integers(0, 20), min_size=3, max_size=3).map(lambda three: Capacity(*sorted(three)))


@given(capacities, counts, counts)
def test_the_number_stays_within_its_bounds(capacity: Capacity, floor: int, needed: int) -> None:
    wanted = wanted_replicas(capacity, floor, needed)
    assert capacity.min <= wanted <= capacity.max
    if capacity.min <= max(floor, needed) <= capacity.max:
        assert wanted == max(floor, needed)


@given(st.integers(0, 1000), st.integers(1, 64))
def test_the_replicas_for_a_load_are_enough_and_none_too_many(load: int, target: int) -> None:
    count = replicas_for(load, target)
    assert (count - 1) * target < load <= count * target or count == load == 0


def test_a_load_is_what_is_not_answered() -> None:
    assert Load(in_flight=2, queued=3).total == 5
    assert Load().total == 0


def test_more_load_counts_at_once() -> None:
    peak = Peak()
    assert [peak.add(0.0, n, WINDOW_S) for n in (0, 1, 5, 7)] == [0, 1, 5, 7]


def test_less_load_counts_when_nothing_in_the_whole_window_needed_more() -> None:
    peak = Peak()
    seen = [(now, peak.add(now, 4 if now == 0 else 1, WINDOW_S)) for now in (0.0, 1.0, 59.9, 60.0, 60.1)]
    assert seen == [(0.0, 4), (1.0, 4), (59.9, 4), (60.0, 4), (60.1, 1)]


def test_a_load_that_comes_and_goes_within_the_window_changes_nothing() -> None:
    peak = Peak()
    peak.add(0.0, 2, WINDOW_S)
    assert {peak.add(float(second), 2 * (second % 30 == 0), WINDOW_S) for second in range(1, 600)} == {2}


def test_a_cleared_peak_has_no_past() -> None:
    peak = Peak()
    peak.add(0.0, 9, WINDOW_S)
    peak.clear()
    assert peak.add(0.1, 1, WINDOW_S) == 1


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 9)), min_size=1, max_size=60))
def test_the_peak_is_the_maximum_of_the_window(steps: list[tuple[float, int]]) -> None:
    peak, now = Peak(), 0.0
    past: list[tuple[float, int]] = []
    for pause, value in steps:
        now += pause
        past.append((now, value))
        assert peak.add(now, value, WINDOW_S) == max(v for at, v in past if at >= now - WINDOW_S)


def test_the_peak_stays_small_however_often_it_is_told_the_same() -> None:
    peak = Peak()
    for turn in range(100_000):
        peak.add(turn / 10_000, 3, WINDOW_S)
    assert len(peak._falling) == 1


# --- the target ---


@pytest.mark.parametrize(
    ("slots", "knee", "target"),
    [(1, None, 1), (8, None, 2), (32, None, 8), (16, 16, 16), (1, 1, 1), (4, 32, 4), (32, 8, 8)],
)
def test_a_measured_model_is_full_at_its_best_batch_and_another_at_a_quarter_of_its_slots(
    slots: int, knee: int | None, target: int
) -> None:
    assert target_of(slots, knee, slots_per_target=4) == target


# --- loads over time: one number each second, `TARGET` requests for a replica, 8 replicas at most ---

TARGET = 8
HOUR = 3600
EIGHT = Capacity(0, 1, 8)
Shape = Callable[[int], int]
Replicas = list[int]


def follow(shape: Shape, seconds: int = HOUR) -> Replicas:
    """How many replicas are wanted, second by second."""
    demand = Demand()
    return [
        wanted_replicas(EIGHT, 1, demand.needed(float(second), shape(second), TARGET, WINDOW_S))
        for second in range(seconds)
    ]


def follow_peaks(shape: Shape, seconds: int = HOUR) -> Replicas:
    """The same by the highest load of the window alone, as a rule without memory has it."""
    peak = Peak()
    return [
        wanted_replicas(EIGHT, 1, peak.add(float(second), replicas_for(shape(second), TARGET), WINDOW_S))
        for second in range(seconds)
    ]


def launches(replicas: Replicas) -> int:
    """Replicas that are launched after the first second."""
    return sum(max(0, after - before) for before, after in pairwise(replicas))


def sine(middle: float, height: float, period_s: float) -> Shape:
    return lambda second: round(middle + height * math.sin(2 * math.pi * second / period_s))


def at_random(mean: float) -> Shape:
    """Requests that arrive independently of one another."""
    draw = random.Random(0)
    values = [sum(draw.random() < mean / 100 for _ in range(100)) for _ in range(HOUR)]
    return values.__getitem__


def every(period_s: int, burst: int, else_: int = 2) -> Shape:
    return lambda second: else_ if second % period_s else burst


def test_a_step_is_followed_at_once_upwards_and_after_the_window_downwards() -> None:
    replicas = follow(lambda second: 30 if 600 <= second < 1800 else 4)
    assert replicas[599:601] == [1, 4]
    assert set(replicas[600:1860]) == {4}
    assert set(replicas[1861:]) == {1}


def test_a_ramp_adds_one_replica_after_the_other_and_takes_them_away_again() -> None:
    replicas = follow(lambda second: max(0, 60 - abs(second - 1800) // 30))
    up, down = replicas[:1800], replicas[1800:]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)
    assert {after - before for before, after in pairwise(replicas)} == {-1, 0, 1}
    assert max(replicas) == 8
    assert all(count >= min(8, replicas_for(60 - abs(at - 1800) // 30, TARGET)) for at, count in enumerate(replicas))


@pytest.mark.parametrize(
    ("shape", "most", "by_peaks"),
    [
        (sine(8, 4, 200), 2, 18),  # about the target: a second replica would come and go with every wave
        (every(90, 64), 14, 270),  # bursts with a pause that is longer than the window
        (lambda second: 8 + second // 61 % 2, 1, 29),  # one more than the target now and then
        (at_random(8), 6, 9),
        (sine(20, 16, 1800), 8, 8),  # slow enough to be followed: up four and down four in each period
    ],
    ids=["waves", "bursts", "at the target", "at random", "slow waves"],
)
def test_replicas_do_not_come_and_go_with_a_load_that_does(shape: Shape, most: int, by_peaks: int) -> None:
    assert launches(follow(shape)) <= most
    assert launches(follow_peaks(shape)) >= by_peaks, "what it is for"


def test_a_single_burst_is_over_after_one_window() -> None:
    replicas = follow(lambda second: 64 if second == 1000 else 2)
    assert set(replicas[1000:1061]) == {8}
    assert set(replicas[1061:]) == {1}


def test_a_window_that_has_grown_is_the_old_one_again_once_the_load_stays_away() -> None:
    replicas = follow(lambda second: every(90, 64)(second) if second < 1200 else 2, 2 * HOUR)
    assert replicas[1200] == 8
    gone = replicas.index(1, 1200)
    assert gone <= 1200 + 8 * WINDOW_S
    demand = Demand()
    again = [
        demand.needed(now, load, TARGET, WINDOW_S) for now, load in ((0.0, 16), (61.0, 1), (200.0, 16), (261.0, 1))
    ]
    assert again == [2, 1, 2, 1]


@given(st.lists(st.integers(0, 200), min_size=1, max_size=400), st.integers(1, 40))
def test_a_load_always_finds_as_many_as_it_calls_for_and_never_more_than_the_window_did(
    loads: list[int], target: int
) -> None:
    demand = Demand()
    for second, load in enumerate(loads):
        needed = demand.needed(float(second), load, target, WINDOW_S)
        assert needed >= replicas_for(load, target)
        assert needed <= replicas_for(max(loads[: second + 1]), target)


def test_a_demand_says_when_it_may_fall_and_forgets_what_it_is_told_to() -> None:
    demand = Demand()
    assert demand.changes_at(WINDOW_S) == -math.inf
    assert demand.needed(0.0, 3 * TARGET, TARGET, WINDOW_S) == 3
    assert demand.needed(1.0, 0, TARGET, WINDOW_S) == 3
    assert demand.changes_at(WINDOW_S) == WINDOW_S
    demand.clear()
    assert demand.needed(2.0, 0, TARGET, WINDOW_S) == 0
