"""What the loop does about one cluster: lists of actions for situations."""

from dataclasses import replace

import pytest

from modelyard.control.plan import (
    Action,
    ClusterView,
    Deadlines,
    Drain,
    Launch,
    ReplicaView,
    Stop,
    plan_cluster,
)
from modelyard.control.states import ReplicaState as S

DEADLINES = Deadlines(boot_s=600.0, drain_s=120.0)


def plan(wanted: int, *replicas: ReplicaView, backing_off: bool = False, at_once: bool = False) -> list[Action]:
    return plan_cluster(ClusterView(wanted, replicas, backing_off=backing_off, at_once=at_once), DEADLINES)


def view(name: str, state: S, in_flight: int = 0, age_s: float = 0.0, *, stopping: bool = False) -> ReplicaView:
    return ReplicaView(name, state, in_flight, age_s, stopping)


UNNEEDED = "no longer needed"


@pytest.mark.parametrize("state", [S.QUEUED, S.STARTING, S.LOADING, S.READY])
def test_what_is_on_its_way_counts_so_that_planning_again_adds_nothing(state: S) -> None:
    assert plan(2, view("a", state), view("b", state)) == []


def test_what_is_missing_is_launched() -> None:
    assert plan(0) == []
    assert plan(3) == [Launch()] * 3
    assert plan(3, view("a", S.READY)) == [Launch()] * 2


def test_a_draining_replica_does_not_count() -> None:
    assert plan(1, view("a", S.DRAINING, in_flight=1)) == [Launch()]


def test_what_requests_may_be_on_that_nobody_has_told_of_stays_unless_all_is_to_end_at_once() -> None:
    untold = ReplicaView("a", S.READY, untold=True)
    assert plan(0, untold) == []
    assert plan(1, untold, view("b", S.READY, in_flight=1)) == []
    assert plan(0, untold, at_once=True) == [Stop("a", UNNEEDED)]


def test_nothing_is_launched_while_backing_off() -> None:
    assert plan(2, view("a", S.READY), backing_off=True) == []


@pytest.mark.parametrize("state", [S.STARTING, S.LOADING])
def test_a_boot_that_takes_too_long_has_failed(state: S) -> None:
    assert plan(1, view("a", state, age_s=600.0)) == []
    assert plan(1, view("a", state, age_s=600.1)) == [Stop("a", "not ready after 600 s", failed=True)]


def test_nothing_takes_the_place_of_a_failed_boot_before_it_is_counted() -> None:
    failing = ReplicaView("a", S.DRAINING, age_s=1.0, stopping=True, failing=True)
    assert plan(1, failing) == []
    assert plan(2, failing) == [Launch()]


def test_a_replica_may_wait_for_memory_as_long_as_it_takes() -> None:
    assert plan(1, view("a", S.QUEUED, age_s=1e9)) == []


def test_a_drained_replica_is_stopped() -> None:
    assert plan(0, view("a", S.DRAINING)) == [Stop("a", "drained")]


def test_a_draining_replica_may_finish_until_its_deadline() -> None:
    assert plan(0, view("a", S.DRAINING, in_flight=2, age_s=120.0)) == []
    assert plan(0, view("a", S.DRAINING, in_flight=2, age_s=120.1)) == [Stop("a", "stopped with 2 requests in flight")]


def test_a_replica_whose_end_was_asked_for_is_left_to_end() -> None:
    assert plan(0, view("a", S.DRAINING, stopping=True, age_s=1e6)) == []
    assert plan(0, view("a", S.DRAINING, in_flight=3, stopping=True), at_once=True) == []


def test_too_many_go_in_the_order_of_what_they_have_cost() -> None:
    replicas = [
        view("ready", S.READY),
        view("loading", S.LOADING),
        view("queued", S.QUEUED),
        view("starting", S.STARTING),
    ]
    stops = [Stop(name, UNNEEDED) for name in ("queued", "starting", "loading")]
    assert [plan(3 - n, *replicas) for n in range(3)] == [stops[: n + 1] for n in range(3)]
    assert plan(0, *replicas) == [*stops, Drain("ready", UNNEEDED)]


def test_of_the_ready_the_idlest_go_and_of_those_the_newest() -> None:
    replicas = [
        view("busy", S.READY, in_flight=5, age_s=1),
        view("old", S.READY, age_s=900),
        view("new", S.READY, age_s=10),
    ]
    assert plan(2, *replicas) == [Drain("new", UNNEEDED)]
    assert plan(1, *replicas) == [Drain("new", UNNEEDED), Drain("old", UNNEEDED)]


def test_a_slot_that_is_kept_without_a_request_is_no_request_but_is_given_back_before_the_end() -> None:
    kept = ReplicaView("kept", S.READY, in_flight=2, age_s=1, idle=2)
    assert plan(1, view("busy", S.READY, in_flight=1), kept) == [Drain("kept", UNNEEDED)]
    draining = ReplicaView("kept", S.DRAINING, in_flight=3, age_s=121, idle=2)
    assert plan(0, replace(draining, age_s=1)) == []
    assert plan(0, draining) == [Stop("kept", "stopped with 1 requests in flight")]


def test_an_overdue_boot_is_not_given_up_twice() -> None:
    overdue, ready = view("overdue", S.LOADING, age_s=601), view("ready", S.READY)
    assert plan(1, overdue, ready) == [Stop("overdue", "not ready after 600 s", failed=True)]


def emptied(name: str, state: S, in_flight: int = 0) -> ReplicaView:
    return ReplicaView(name, state, in_flight, empties="its node is emptied")


def test_what_is_on_a_node_that_is_emptied_goes_once_others_are_ready_in_its_place() -> None:
    leaving = (emptied("a", S.READY, 3), emptied("b", S.READY))
    assert plan(2, *leaving) == [Launch()] * 2
    assert plan(2, *leaving, view("c", S.QUEUED), view("d", S.LOADING)) == []
    assert plan(2, *leaving, view("c", S.READY), view("d", S.LOADING)) == [Drain("b", "its node is emptied")]
    assert plan(2, leaving[0], view("c", S.READY), view("d", S.READY)) == [Drain("a", "its node is emptied")]
    assert plan(0, *leaving) == [Drain(name, "its node is emptied") for name in ("b", "a")]


def test_a_boot_on_a_node_that_is_emptied_counts_for_nothing() -> None:
    assert plan(1, emptied("a", S.LOADING)) == [Launch()]
    assert plan(1, emptied("a", S.LOADING), view("b", S.READY)) == [Stop("a", "its node is emptied")]
    assert plan(1, emptied("a", S.READY), backing_off=True) == []


def test_what_is_deleted_or_off_stops_at_once() -> None:
    replicas = [
        view("ready", S.READY, in_flight=1),
        view("queued", S.QUEUED),
        view("draining", S.DRAINING, in_flight=1),
    ]
    assert plan(0, *replicas, at_once=True) == [
        Stop("draining", "stopped with 1 requests in flight"),
        Stop("queued", UNNEEDED),
        Stop("ready", UNNEEDED),
    ]


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (S.READY, Drain("a", "the replica of its base leaves")),
        (S.LOADING, Stop("a", "the replica of its base leaves")),
    ],
)
def test_an_adapter_leaves_the_process_of_a_replica_that_leaves_for_another(state: S, action: Action) -> None:
    leaving = ReplicaView("a", state, base_leaves=True)
    assert plan(1, leaving) == [action, Launch()]
    assert plan(0, leaving) == [action]
    assert plan(1, ReplicaView("a", S.DRAINING, in_flight=1, base_leaves=True)) == [Launch()]
