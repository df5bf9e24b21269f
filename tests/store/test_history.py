"""The history of charts: kept by minute, rolled up by hour once, and no longer than is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelyard.records.history import HOUR_S, MINUTE_S, ClusterPoint, NodePoint
from modelyard.store import Store, history
from modelyard.store.history import KEPT

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MODEL = "org/name"


def point(minutes: float = 0, *, account: str = "acc_a", model: str = MODEL, requests: int = 1) -> ClusterPoint:
    at = NOON + timedelta(minutes=minutes)
    return ClusterPoint(account, model, at, requests, 1, 500, (0, requests), 2, 3, 1, 10**12)


def node_point(minutes: float = 0, *, evictions: int = 0) -> NodePoint:
    return NodePoint("node-a", "cuda:0", NOON + timedelta(minutes=minutes), 2**40, 2**39, 2**38, evictions)


def minutes_of(
    store: Store, account: str = "acc_a", model: str = MODEL, step_s: int = MINUTE_S, now: datetime = NOON
) -> list[ClusterPoint]:
    return list(store.history.list_clusters(account, model, step_s, NOON - timedelta(days=99), now))


def test_what_is_added_is_found_by_its_owner_from_a_moment_on(store: Store) -> None:
    mine = [point(0), point(1)]
    store.history.add([*mine, point(1, account="acc_b"), point(1, model="org/other")], [node_point(1)])
    assert minutes_of(store) == mine
    assert store.history.list_clusters("acc_a", MODEL, MINUTE_S, NOON + timedelta(minutes=1), NOON) == mine[1:]
    assert minutes_of(store, "acc_c") == minutes_of(store, step_s=HOUR_S) == []
    assert store.history.list_nodes(MINUTE_S, NOON, NOON) == [node_point(1)]


def test_any_number_of_points_are_written_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ROWS_AT_ONCE", 2)
    points = [point(minutes) for minutes in range(5)]
    store.history.add(points, [])
    assert minutes_of(store) == points


def test_what_two_servers_counted_in_one_minute_becomes_both(store: Store) -> None:
    store.history.add([point(requests=2)], [node_point(evictions=1)])
    store.history.add([point(requests=5), point(1)], [node_point(evictions=2)])
    assert minutes_of(store) == [point(requests=2).merge(point(requests=5)), point(1)]
    assert store.history.list_nodes(MINUTE_S, NOON, NOON)[0].evictions == 3


def test_hours_that_have_ended_are_rolled_up_once(store: Store) -> None:
    store.history.add([point(1), point(59), point(61), point(121)], [node_point(5)])
    store.history.roll_up(NOON + timedelta(minutes=125))
    hours = minutes_of(store, step_s=HOUR_S)
    assert [(hour.at, hour.requests) for hour in hours] == [(NOON, 2), (NOON + timedelta(hours=1), 1)]
    store.history.roll_up(NOON + timedelta(minutes=126))
    assert minutes_of(store, step_s=HOUR_S) == hours
    store.history.roll_up(NOON + timedelta(hours=3))
    assert [hour.requests for hour in minutes_of(store, step_s=HOUR_S)] == [2, 1, 1]
    assert [node.at for node in store.history.list_nodes(HOUR_S, NOON, NOON)] == [NOON]


def test_an_hour_that_has_ended_is_told_before_it_is_rolled_up(store: Store) -> None:
    store.history.add([point(1), point(59), point(61), point(121)], [node_point(5), node_point(65)])
    now = NOON + timedelta(minutes=125)
    for _ in range(2):
        hours = minutes_of(store, step_s=HOUR_S, now=now)
        assert [(hour.at, hour.requests) for hour in hours] == [(NOON, 2), (NOON + timedelta(hours=1), 1)]
        assert store.history.list_clusters("acc_a", MODEL, HOUR_S, NOON + timedelta(minutes=1), now) == hours[1:]
        nodes = store.history.list_nodes(HOUR_S, NOON, now)
        assert [node.at for node in nodes] == [NOON, NOON + timedelta(hours=1)]
        store.history.roll_up(NOON + timedelta(minutes=65))


def test_minutes_go_after_a_day_and_hours_after_a_month_the_oldest_first(store: Store) -> None:
    store.history.add([point(minute) for minute in range(4)], [node_point()])
    store.history.roll_up(NOON + timedelta(hours=1))
    now = NOON + KEPT[MINUTE_S] + timedelta(minutes=3)
    assert store.history.prune(now, limit=2) == 3
    assert minutes_of(store) == [point(2), point(3)]
    assert [store.history.prune(now, limit=2) for _ in range(2)] == [1, 0]
    assert minutes_of(store) == [point(3)]
    assert len(minutes_of(store, step_s=HOUR_S)) == 1
    assert store.history.prune(NOON + KEPT[HOUR_S] + timedelta(seconds=1), limit=10) == 3
    assert minutes_of(store) == minutes_of(store, step_s=HOUR_S) == []
