"""Where a replica fits and who must leave."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.limits import (
    ACCOUNT_INSTANCES,
    ACCOUNT_MEMORY,
    DEVICE_MEMORY,
    NODE_MEMORY,
    Bound,
    gigabytes,
    instances,
)
from modelyard.control.placement import (
    Candidate,
    Evict,
    Fits,
    MemoryHolder,
    Never,
    Wait,
    choose_place,
    choose_victims,
    place,
    place_within,
)
from modelyard.engine.base import Need, Place
from modelyard.units import GIB


def holder(
    name: str, size: int, idle_s: float | None = None, *, leaving: bool = False, own: bool = False
) -> MemoryHolder:
    return MemoryHolder(name, f"org/{name}", size, idle_s, leaving, own)


def within(machine: int, *, memory: int, number: int) -> list[Bound]:
    """The bounds of an account on a machine."""
    return [Bound(memory, limit=ACCOUNT_MEMORY), Bound(number, limit=ACCOUNT_INSTANCES), Bound(machine)]


def ids(holders: tuple[MemoryHolder, ...]) -> list[str]:
    return [each.replica_id for each in holders]


tenants_lists = st.lists(
    st.builds(
        MemoryHolder,
        replica_id=st.uuids().map(str),
        name=st.sampled_from(["org/a", "org/b"]),
        memory_bytes=st.integers(1, 40),
        idle_s=st.none() | st.floats(0, 1000),
        leaving=st.booleans(),
        own=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda each: each.replica_id,
)


@given(st.integers(1, 120), tenants_lists, st.booleans(), st.integers(0, 60))
def test_memory_is_never_overcommitted(need: int, holders: list[MemoryHolder], may_evict: bool, claimed: int) -> None:
    node = 100
    free = node - sum(each.memory_bytes for each in holders)
    soon = free + sum(each.memory_bytes for each in holders if each.leaving) - claimed
    match place(Need(need), Bound(node, claimed), holders, may_evict=may_evict):
        case Fits():
            assert need <= free
            assert need <= soon
        case Evict(victims):
            assert all(each.idle_s is not None and not each.leaving for each in victims)
            assert may_evict or not victims
            freed = sum(each.memory_bytes for each in victims)
            assert need <= soon + freed
            assert all(need > soon + freed - each.memory_bytes for each in victims), "one was evicted needlessly"
        case Wait():
            idle = sum(each.memory_bytes for each in holders if each.idle_s is not None and not each.leaving)
            assert need > soon
            assert not may_evict or need > soon + idle
        case Never():
            assert need > node


@given(st.integers(1, 200), tenants_lists)
def test_planning_again_while_the_evicted_leave_evicts_nobody_else(need: int, holders: list[MemoryHolder]) -> None:
    first = place(Need(need), Bound(100), holders, may_evict=True)
    if isinstance(first, Evict):
        victims = set(ids(first.holders))
        after = [
            holder(each.replica_id, each.memory_bytes, None, leaving=True) if each.replica_id in victims else each
            for each in holders
        ]
        again = place(Need(need), Bound(100), after, may_evict=True)
        assert isinstance(again, Evict)
        assert again.holders == ()


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
    holders = [holder("young", 25, 1), holder("old", 10, 300), holder("busy", 50), holder("middle", 20, 20)]
    assert ids(choose_victims(missing, holders)) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (holder("asked often", 10, 5), holder("asked seldom", 10, 5), ["asked seldom"]),
        (holder("asked seldom", 10, 5), holder("slow to load", 10, 5), ["asked seldom"]),
        (holder("small", 10, 5), holder("large", 30, 5), ["large"]),
    ],
)
def test_those_whose_bytes_are_missed_the_least_go_first(
    first: MemoryHolder, second: MemoryHolder, expected: list[str]
) -> None:
    known = {"asked often": (6.0, 1.0), "asked seldom": (600.0, 1.0), "slow to load": (600.0, 30.0)}
    both = [
        replace(each, next_use_s=known[each.replica_id][0], reload_s=known[each.replica_id][1])
        if each.replica_id in known
        else each
        for each in (first, second)
    ]
    assert ids(choose_victims(10, both)) == ids(choose_victims(10, both[::-1])) == expected


def test_a_small_idle_one_is_spared_when_a_larger_one_must_go_anyway() -> None:
    holders = [holder("small", 10, 300), holder("large", 90, 5)]
    assert ids(choose_victims(50, holders)) == ["large"]


def test_what_is_leaving_anyway_is_waited_for_and_nobody_else_goes() -> None:
    holders = [holder("leaving", 50, None, leaving=True), holder("idle", 50, 500)]
    assert place(Need(40), Bound(100), holders, may_evict=True) == Evict((), "waiting for org/leaving to leave")


def test_what_was_promised_to_another_is_not_given_away() -> None:
    holders = [holder("leaving", 50, None, leaving=True), holder("busy", 20)]
    assert place(Need(30), Bound(100), holders, may_evict=False) == Fits()
    assert isinstance(place(Need(30), Bound(100, claimed=60), holders, may_evict=False), Wait)


def test_too_large_for_the_machine_is_told_at_once_with_both_sizes() -> None:
    verdict = place(Need(3 * GIB), Bound(2 * GIB), [], may_evict=True)
    assert isinstance(verdict, Never)
    assert "needs 3.0 GB" in verdict.reason
    assert "2.0 GB in all" in verdict.reason
    assert verdict.cause == "machine"


def test_who_must_wait_is_told_for_what_and_for_whom() -> None:
    holders = [holder("b", 3 * GIB), holder("a", 3 * GIB), holder("idle", GIB, 9)]
    assert place(Need(2 * GIB), Bound(8 * GIB), holders, may_evict=False) == Wait(
        "waiting for 2.0 GB, 1.0 GB free; busy: org/a, org/b"
    )


def test_a_size_is_written_for_people() -> None:
    assert [gigabytes(n) for n in (0, 50 * 1024**2, GIB // 2, 3 * GIB)] == ["0 MB", "50 MB", "512 MB", "3.0 GB"]
    assert [instances(n) for n in (0, 1, 2)] == ["0 instances", "1 instance", "2 instances"]


@given(st.integers(1, 120), tenants_lists, st.booleans(), st.integers(0, 120), st.integers(0, 5))
def test_no_bound_is_ever_broken_and_no_stranger_goes_for_an_accounts_limit(
    need: int, holders: list[MemoryHolder], may_evict: bool, memory: int, number: int
) -> None:
    own = [each for each in holders if each.own]
    match place_within(Need(need), within(100, memory=memory, number=number), holders, may_evict=may_evict):
        case Fits():
            assert need + sum(each.memory_bytes for each in holders) <= 100
            assert need + sum(each.memory_bytes for each in own) <= memory
            assert 1 + len(own) <= number
        case Evict(victims):
            assert len({each.replica_id for each in victims}) == len(victims)
            assert all(each.idle_s is not None and not each.leaving for each in victims)
            left = [each for each in holders if not each.leaving and each not in victims]
            assert need + sum(each.memory_bytes for each in left) <= 100
            assert need + sum(each.memory_bytes for each in left if each.own) <= memory
            assert 1 + sum(each.own for each in left) <= number
            if need + sum(each.memory_bytes for each in holders if not each.leaving) <= 100:
                assert all(each.own for each in victims), "the machine had room"
        case Never():
            assert need > min(100, memory) or number == 0


@pytest.mark.parametrize(
    ("memory", "number", "expected"),
    [
        (100, 9, Fits()),
        (100, 2, Evict((), "waiting for org/old to leave: your account may hold 2 instances at once")),
        (40, 9, Evict((), "waiting for org/old to leave: your account may hold 0 MB at once")),
        (100, 1, Wait("waiting for 1 instance: your account may hold 1 instance at once; busy: org/busy")),
        (25, 9, Wait("waiting for 0 MB: your account may hold 0 MB at once, 0 MB of it free; busy: org/busy")),
    ],
)
def test_an_accounts_own_idle_replicas_go_for_its_limits(
    memory: int, number: int, expected: Fits | Evict | Wait
) -> None:
    holders = [holder("stranger", 30, 900), holder("old", 10, 300, own=True), holder("busy", 20, own=True)]
    verdict = place_within(Need(20), within(100, memory=memory, number=number), holders, may_evict=True)
    if isinstance(expected, Evict):
        assert isinstance(verdict, Evict)
        assert ids(verdict.holders) == ["old"]
        assert verdict.reason == expected.reason
    else:
        assert verdict == expected


def test_nobody_of_ones_own_goes_when_the_machine_has_no_room_anyway() -> None:
    holders = [holder("stranger", 80), holder("old", 10, 300, own=True)]
    assert isinstance(place_within(Need(30), within(100, memory=30, number=1), holders, may_evict=True), Wait)


def test_what_goes_for_the_account_counts_as_room_on_the_machine() -> None:
    holders = [holder("stranger", 50, 900), holder("old", 40, 300, own=True)]
    verdict = place_within(Need(50), within(100, memory=60, number=9), holders, may_evict=True)
    assert isinstance(verdict, Evict)
    assert ids(verdict.holders) == ["old"]


@pytest.mark.parametrize(
    ("bounds", "words", "cause"),
    [
        (within(8 * GIB, memory=GIB, number=5), ["needs 2.0 GB", "your account may hold 1.0 GB"], "account memory"),
        (within(8 * GIB, memory=4 * GIB, number=0), ["your account may hold 0 instances"], "account instances"),
        (within(GIB, memory=4 * GIB, number=5), ["needs 2.0 GB", "on this machine"], "machine"),
    ],
)
def test_too_large_for_the_account_is_told_at_once(bounds: list[Bound], words: list[str], cause: str) -> None:
    busy = holder("busy", 4 * GIB, own=True)
    verdict = place_within(Need(2 * GIB), bounds, [busy], may_evict=True)
    assert isinstance(verdict, Never)
    assert all(word in verdict.reason for word in words), verdict.reason
    assert verdict.cause == cause


# --- of several places ---


def candidate(name: str, most: int, *holders: MemoryHolder) -> Candidate:
    """A node of so much memory, with these holders on it."""
    here = Place(name)
    bound = Bound(most, limit=NODE_MEMORY, place=here, alone=False)
    return Candidate(here, (bound,), [replace(each, place=each.place or here) for each in holders])


FULL = candidate("full", 100, holder("busy", 100))
ROOM = candidate("room", 100, holder("busy", 60))
LEAVING = candidate("leaving", 100, holder("leaving", 100, leaving=True))
OLD = candidate("old", 100, holder("old", 50, 300), holder("other old", 50, 200))
YOUNG = candidate("young", 100, holder("older", 50, 900), holder("young", 50, 20))
SMALL = candidate("small", 20)
TINY = candidate("tiny", 10)


@pytest.mark.parametrize(
    ("need", "candidates", "name", "kind"),
    [
        (40, [FULL, OLD, LEAVING, ROOM], "room", Fits),
        (20, [SMALL, ROOM], "small", Fits),
        (20, [ROOM, SMALL], "room", Fits),
        (40, [FULL, OLD, LEAVING], "leaving", Evict),
        (40, [OLD, YOUNG], "young", Evict),
        (80, [YOUNG, OLD], "old", Evict),
        (40, [SMALL, FULL], "full", Wait),
        (40, [TINY, SMALL], "small", Never),
    ],
)
def test_room_now_comes_before_room_to_be_made_and_that_before_waiting(
    need: int, candidates: list[Candidate], name: str, kind: type
) -> None:
    found = choose_place(Need(need), [], candidates, may_evict=True)
    assert found is not None
    assert (found[0].place.node, type(found[1])) == (name, kind)


def test_without_candidates_there_is_no_place() -> None:
    assert choose_place(Need(1), [], [], may_evict=True) is None


def test_only_what_is_on_a_device_counts_there_and_only_bytes_of_it() -> None:
    here, there = Place("gpu", ("cuda:0",)), Place("gpu", ("cuda:1",))
    bound = Bound(100, limit=DEVICE_MEMORY, place=here)
    holders = [
        MemoryHolder("mine", "org/mine", 1, 300, device_bytes=60, place=here),
        MemoryHolder("host", "org/host", 90, 900, place=here),
        MemoryHolder("beside", "org/beside", 1, 900, device_bytes=90, place=there),
        MemoryHolder("elsewhere", "org/elsewhere", 1, 900, device_bytes=90, place=Place("other", ("cuda:0",))),
    ]
    assert place(Need(500, 40), bound, holders, may_evict=True) == Fits()
    verdict = place(Need(500, 41), bound, holders, may_evict=True)
    assert isinstance(verdict, Evict)
    assert ids(verdict.holders) == ["mine"]
    verdict = place(Need(500, 41), bound, holders, may_evict=False)
    assert verdict == Wait("waiting for 0 MB on cuda:0, 0 MB free")


def test_an_account_waits_for_its_own_limit_wherever_there_is_room() -> None:
    elsewhere = holder("mine", 30, own=True)
    account = [Bound(50, limit=ACCOUNT_MEMORY)]
    with_it = replace(ROOM, holders=[*ROOM.holders, replace(elsewhere, place=Place("far"))])
    found = choose_place(Need(15, 10), account, [with_it], may_evict=True)
    assert found is not None
    assert found[1] == Wait("waiting for 0 MB: your account may hold 0 MB at once, 0 MB of it free; busy: org/mine")
