"""The loop looks at what happened or is due, and forgets no cluster."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from modelyard.control.work_queue import DUE_AT_ONCE, WorkQueue
from tests.control.control_plane import BIG, SMALL, SMALL_BYTES, THIRD, TWIN, ControlPlane, MakeControl
from tests.control.test_funds import SPENT
from tests.control.test_room import shuffle
from tests.properties import TIMES


def test_each_is_taken_once_the_longest_marked_first_and_no_more_than_asked_for() -> None:
    work = WorkQueue()
    for name in ("a", "b", "a", "c"):
        work.add(name)
    work.changed.clear()
    assert work.take(0.0, most=2) == ["a", "b"]
    assert work.changed.is_set(), "one is left"
    work.changed.clear()
    assert work.take(0.0, most=2) == ["c"]
    assert not work.changed.is_set()


def test_the_earliest_time_counts() -> None:
    work = WorkQueue()
    for at in (7.0, 5.0, 9.0):
        work.add_at("a", at)
    assert work.take(4.9, most=9) == []
    assert work.take(5.0, most=9) == ["a"]
    assert work.take(10.0, most=9) == []


def test_after_a_look_only_what_is_due_then_counts() -> None:
    work = WorkQueue()
    work.add_at("a", 5.0)
    work.add_at("b", 5.0)
    work.set_due("a", 8.0)
    work.set_due("b", None)
    assert work.take(7.0, most=9) == []
    assert work.take(8.0, most=9) == ["a"]


def test_of_those_that_are_due_together_a_part_is_taken_in_each_turn() -> None:
    work, names = WorkQueue(), [str(number) for number in range(2 * DUE_AT_ONCE)]
    for name in names:
        work.add_at(name, 5.0)
    taken = list(work.take(5.0, most=len(names)))
    assert len(taken) == DUE_AT_ONCE
    assert work.changed.is_set(), "more are due"
    work.changed.clear()
    taken += work.take(5.0, most=len(names))
    assert sorted(taken) == sorted(names)
    assert not work.changed.is_set()


def test_who_is_gone_is_not_taken() -> None:
    work = WorkQueue()
    work.add("a")
    work.add_at("b", 1.0)
    work.forget("a")
    work.forget("b")
    work.forget("c")
    assert work.take(2.0, most=9) == []


async def test_waiting_ends_with_a_change_and_when_something_is_due() -> None:
    work = WorkQueue()
    work.add_at("a", 5.0)
    await work.wait(now=5.0, most_s=1000.0)
    assert work.take(5.0, most=1) == ["a"]
    waiting = asyncio.ensure_future(work.wait(now=5.0, most_s=1000.0))
    work.wake()
    await waiting


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "at", "take"]), st.integers(0, 9))))
def test_whatever_is_added_is_taken_in_time_and_nothing_else(calls: list[tuple[str, str, int]]) -> None:
    work, now = WorkQueue(), 0.0
    marked: set[str] = set()
    due: dict[str, float] = {}
    for name, call, number in calls:
        if call == "add":
            marked.add(name)
            work.add(name)
        elif call == "at":
            due[name] = min(now + number, due.get(name, now + number))
            work.add_at(name, now + number)
        else:
            now += number
            over = {each for each, at in due.items() if at <= now}
            assert set(work.take(now, most=10)) == marked | over
            marked, due = set(), {each: at for each, at in due.items() if each not in over}
    assert set(work.take(1e9, most=10)) == marked | due.keys()


# --- whole control planes ---


async def test_a_cluster_that_has_been_idle_for_long_enough_when_the_loop_comes_to_it_rests(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        managed = await control.put(timeout=0)
        asked = await control.ask()
        await asked.served()
        control.step(after_s=control.policy.tick_s)
        asked.answer()
        control.step(after_s=control.policy.tick_s / 2)  # a loop that is late
        assert (managed.wanted, control.states(managed)) == (0, ["draining"])


def seen(control: ControlPlane) -> list[object]:
    """All that a step may change of every cluster."""
    return [
        (
            managed.cluster.id,
            managed.wanted,
            managed.floor,
            {replica.id: replica.state for replica in managed.replicas.values()},
            sorted(managed.route.targets),
            str(managed.route.failure),
            str(managed.suspension),
        )
        for managed in control.desired.all()
    ]


async def disturb(control: ControlPlane, dice: random.Random) -> None:
    """One thing that may happen, and some time."""
    control.clock.advance(dice.choice([0, 0.1, 0.7, 3, 40]))
    match dice.randrange(6):
        case 0:
            control.refusals[control.account] = SPENT
        case 1 | 2:
            control.refusals.pop(control.account, None)
        case 3:
            name = dice.choice([SMALL, TWIN, THIRD, BIG])
            if control.clusters.find(control.account, name):
                await control.patch(name, status=dice.choice(["on", "off", "on"]))
        case _:
            await shuffle(control, dice)


@settings(max_examples=4 * TIMES, phases=[Phase.generate])
@given(st.integers(0, 2**32))
def test_a_look_at_every_cluster_finds_nothing_to_do_whatever_has_happened(
    models: Path, database: Path, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        control = ControlPlane(Path(folder), models, database, memory_bytes=3 * SMALL_BYTES)
        asyncio.run(check_history(control, random.Random(seed)))


async def check_history(control: ControlPlane, dice: random.Random) -> None:
    async with control:
        for _ in range(30):
            for _ in range(dice.randrange(1, 4)):
                await disturb(control, dice)
            control.step(after_s=control.policy.tick_s)  # funds are looked at once a second
            await control.settle()
            before = seen(control)
            for managed in control.desired.all():
                control.work.add(managed.cluster.id)
            control.step()
            assert seen(control) == before
