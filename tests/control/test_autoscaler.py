"""How many replicas: bounded, up at once, down late, never to and fro."""

from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.autoscaler import Load, Peak, replicas_for, wanted_replicas
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
