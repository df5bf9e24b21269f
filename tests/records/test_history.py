"""Points of charts: put together in longer steps, and what is read from how long answers took."""

from __future__ import annotations

import gc
from datetime import UTC, datetime, timedelta

from modelyard.records.history import (
    HOUR_S,
    LATENCY_S,
    MINUTE_S,
    ClusterPoint,
    NodePoint,
    begin_of,
    percentile_s,
    roll_up,
    trimmed,
)
from modelyard.tallies import Histogram

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_a_step_begins_at_a_full_minute_or_hour() -> None:
    moment = NOON + timedelta(minutes=59, seconds=59.9)
    assert begin_of(moment, MINUTE_S) == NOON + timedelta(minutes=59)
    assert begin_of(moment, HOUR_S) == NOON


def test_counts_add_up_and_of_what_goes_up_and_down_the_most_stays() -> None:
    first = ClusterPoint("a", "m", NOON, 3, 1, 10, (1, 2), in_flight=4, queued=0, replicas=1, memory_bytes=100)
    later = ClusterPoint("a", "m", NOON + timedelta(minutes=2), 2, 0, 5, (0, 0, 7), 1, 9, 2, 50)
    other = ClusterPoint("b", "m", NOON, requests=1)
    whole = ClusterPoint("a", "m", NOON, 5, 1, 15, (1, 2, 7), in_flight=4, queued=9, replicas=2, memory_bytes=100)
    assert roll_up([first, other, later], 5 * MINUTE_S) == [whole, other]
    nodes = [NodePoint("n", "", NOON, 10, 4, 3, 1), NodePoint("n", "", NOON + timedelta(minutes=1), 10, 2, 5, 2)]
    assert roll_up(nodes, HOUR_S) == [NodePoint("n", "", NOON, 10, 4, 5, 3)]


def test_collections_of_garbage_do_not_look_through_points() -> None:
    point = ClusterPoint("a", "m", NOON, 3, latency=trimmed([1, 2, 0]))
    assert not gc.is_tracked(point)
    assert not gc.is_tracked(point.merge(point))


def test_a_percentile_is_the_next_bound_and_never_less() -> None:
    seen = Histogram(LATENCY_S)
    took = [0.002] * 50 + [0.04] * 40 + [0.9] * 10
    for each in took:
        seen.observe(each)
    counts = trimmed(seen.counts)
    for percent, exact in ((50, 0.002), (90, 0.04), (99, 0.9)):
        found = percentile_s(counts, percent)
        assert found is not None
        assert exact <= found <= 1.5 * exact
    assert percentile_s((), 50) is None
    assert percentile_s(tuple([0] * len(LATENCY_S) + [1]), 50) == LATENCY_S[-1]
    assert trimmed([0, 3, 0, 0]) == (0, 3)
