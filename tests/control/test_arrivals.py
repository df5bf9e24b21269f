"""How often a cluster is asked, from its count."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.arrivals import Arrivals


def asked(*moments: float) -> Arrivals:
    arrivals = Arrivals()
    for count, moment in enumerate(moments, 1):
        arrivals.note(moment, count)
    return arrivals


def test_before_two_requests_only_the_time_since_the_last_is_known() -> None:
    assert Arrivals().next_use_s(5.0) == 5.0
    assert asked(100.0).next_use_s(5.0) == 5.0


def test_the_usual_gap_is_expected_until_it_is_over() -> None:
    arrivals = asked(0.0, 10.0, 20.0, 30.0)
    assert (arrivals.next_use_s(1.0), arrivals.next_use_s(25.0)) == (10.0, 25.0)


def test_several_requests_between_two_looks_share_the_time() -> None:
    arrivals = asked(0.0)
    arrivals.note(8.0, 5)
    arrivals.note(9.0, 5)
    assert arrivals.gap_s == 2.0


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=30))
def test_the_mean_lies_between_the_gaps(gaps: list[float]) -> None:
    moments = [sum(gaps[:count]) for count in range(len(gaps) + 1)]
    seen = [later - earlier for earlier, later in pairwise(moments)]
    gap_s = asked(*moments).gap_s
    assert gap_s is not None
    assert min(seen) - 1e-6 <= gap_s <= max(seen) + 1e-6


def test_what_was_long_ago_hardly_counts() -> None:
    arrivals = Arrivals()
    moment = 0.0
    for count in range(1, 60):
        moment += 1000.0 if count < 30 else 1.0
        arrivals.note(moment, count)
    assert arrivals.next_use_s(0.0) < 2.0
