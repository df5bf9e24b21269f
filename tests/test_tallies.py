"""Counts and histograms by label."""

from __future__ import annotations

from collections import Counter

import pytest

from modelyard.tallies import OTHERS, ByLabel, Histogram


@pytest.mark.parametrize(("value", "place"), [(0.0, 0), (1.0, 0), (1.5, 1), (2.0, 1), (2.1, 2), (1e9, 2)])
def test_a_value_is_counted_up_to_the_first_bound_that_it_does_not_exceed(value: float, place: int) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)
    assert histogram.counts == [int(each == place) for each in range(3)]
    assert histogram.total == value


def test_the_first_labels_have_their_own_and_all_others_one_together() -> None:
    tallies: ByLabel[Counter[str]] = ByLabel(Counter, most=2)
    for label in ("a", "b", "c", "d", "a", "c"):
        tallies.of(label)["n"] += 1
    assert {label: count["n"] for label, count in tallies.items()} == {"a": 2, "b": 1, OTHERS: 3}
