"""Where a replica fits and who must leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.placement import Evict, Never, Placed, Tenant, Wait, choose_victims, gigabytes, place
from modelyard.types import GIB


def tenant(name: str, size: int, idle_s: float | None = None, *, leaving: bool = False) -> Tenant:
    return Tenant(name, f"org/{name}", size, idle_s, leaving)


def ids(tenants: tuple[Tenant, ...]) -> list[str]:
    return [each.replica_id for each in tenants]


tenants_lists = st.lists(
    st.builds(
        Tenant,
        replica_id=st.uuids().map(str),
        name=st.sampled_from(["org/a", "org/b"]),
        memory_bytes=st.integers(1, 40),
        idle_s=st.none() | st.floats(0, 1000),
        leaving=st.booleans(),
    ),
    max_size=8,
)


@given(st.integers(1, 120), tenants_lists, st.booleans(), st.integers(0, 60))
def test_memory_is_never_overcommitted(need: int, tenants: list[Tenant], may_evict: bool, claimed: int) -> None:
    node = 100
    free = node - sum(each.memory_bytes for each in tenants)
    soon = free + sum(each.memory_bytes for each in tenants if each.leaving) - claimed
    match place(need, node, tenants, may_evict=may_evict, claimed_bytes=claimed):
        case Placed():
            assert need <= free
            assert need <= soon
        case Evict(victims):
            assert all(each.idle_s is not None and not each.leaving for each in victims)
            assert may_evict or not victims
            freed = sum(each.memory_bytes for each in victims)
            assert need <= soon + freed
            assert all(need > soon + freed - each.memory_bytes for each in victims), "one was evicted needlessly"
        case Wait():
            idle = sum(each.memory_bytes for each in tenants if each.idle_s is not None and not each.leaving)
            assert need > soon
            assert not may_evict or need > soon + idle
        case Never():
            assert need > node


@given(st.integers(1, 200), tenants_lists)
def test_planning_again_while_the_evicted_leave_evicts_nobody_else(need: int, tenants: list[Tenant]) -> None:
    first = place(need, 100, tenants, may_evict=True)
    if isinstance(first, Evict):
        victims = set(ids(first.tenants))
        after = [
            tenant(each.replica_id, each.memory_bytes, None, leaving=True) if each.replica_id in victims else each
            for each in tenants
        ]
        again = place(need, 100, after, may_evict=True)
        assert isinstance(again, Evict)
        assert again.tenants == ()


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (1, ["old"]),
        (10, ["old"]),
        (11, ["middle"]),
        (30, ["old", "middle"]),
        (31, ["old", "young"]),
        (45, ["middle", "young"]),
        (55, ["old", "middle", "young"]),
        (56, []),
    ],
)
def test_the_longest_idle_go_first_and_those_not_needed_are_spared(missing: int, expected: list[str]) -> None:
    tenants = [tenant("young", 25, 1), tenant("old", 10, 300), tenant("busy", 50), tenant("middle", 20, 20)]
    assert ids(choose_victims(missing, tenants)) == expected


def test_a_small_idle_one_is_spared_when_a_larger_one_must_go_anyway() -> None:
    tenants = [tenant("small", 10, 300), tenant("large", 90, 5)]
    assert ids(choose_victims(50, tenants)) == ["large"]


def test_what_is_leaving_anyway_is_waited_for_and_nobody_else_goes() -> None:
    tenants = [tenant("leaving", 50, None, leaving=True), tenant("idle", 50, 500)]
    assert place(40, 100, tenants, may_evict=True) == Evict((), "waiting for org/leaving to leave")


def test_what_was_promised_to_another_is_not_given_away() -> None:
    tenants = [tenant("leaving", 50, None, leaving=True), tenant("busy", 20)]
    assert place(30, 100, tenants, may_evict=False) == Placed()
    assert isinstance(place(30, 100, tenants, may_evict=False, claimed_bytes=60), Wait)


def test_too_large_for_the_machine_is_told_at_once_with_both_sizes() -> None:
    verdict = place(3 * GIB, 2 * GIB, [], may_evict=True)
    assert isinstance(verdict, Never)
    assert "needs 3.0 GB" in verdict.reason
    assert "2.0 GB in all" in verdict.reason
    assert "--memory-gb" in verdict.reason


def test_who_must_wait_is_told_for_what_and_for_whom() -> None:
    tenants = [tenant("b", 3 * GIB), tenant("a", 3 * GIB), tenant("idle", GIB, 9)]
    assert place(2 * GIB, 8 * GIB, tenants, may_evict=False) == Wait(
        "waiting for 2.0 GB, 1.0 GB free; busy: org/a, org/b"
    )


def test_a_size_is_written_for_people() -> None:
    assert [gigabytes(n) for n in (0, 50 * 1024**2, GIB // 2, 3 * GIB)] == ["0 MB", "50 MB", "0.5 GB", "3.0 GB"]
