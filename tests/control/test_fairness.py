"""No account keeps another one waiting: who holds the least for its weight is placed first."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.fairness import Turns, share_of, whole_of
from modelyard.control.work_queue import WorkQueue
from modelyard.engine.base import Device, Need, Node
from modelyard.records.accounts import Quota
from tests.catalog.models import model, write
from tests.clock import HandClock
from tests.control.control_plane import (
    BIG,
    SMALL,
    SMALL_BYTES,
    TWIN,
    ControlPlane,
    MakeControl,
    Request,
    make_models,
)

MANY = 50
NODES = (Node("a", 60, devices=(Device("cuda:0", 10),)), Node("b", 40))


def turns_of(waiting: dict[str, int], *, weights: dict[str, int] | None = None, held: dict[str, int]) -> str:
    """The accounts in the order in which their replicas, of one byte each, are placed."""
    holds = {account: held.get(account, 0) for account in waiting}
    turns: Turns[str] = Turns()
    for account, count in waiting.items():
        for at in range(count):
            turns.put((account, at), account, (at,), account)
    order = ""
    while account := turns.take(lambda name: share_of(Need(holds[name]), Need(100), (weights or {}).get(name, 1))):
        order += account
        holds[account] += 1
    return order


def round_of(turns: Turns[str], shares: dict[str, float] | None = None) -> list[str]:
    """What is left of a round."""
    return list(iter(lambda: turns.take(lambda name: (shares or {}).get(name, 0.0)), None))


@pytest.mark.parametrize(
    ("waiting", "held", "weights", "order"),
    [
        ({"a": 3}, {}, {}, "aaa"),
        ({"a": 3, "b": 1}, {}, {}, "abaa"),
        ({"a": 3, "b": 1}, {"a": 5}, {}, "baaa"),
        ({"a": 2, "b": 3}, {"a": 2}, {}, "bbaba"),
        ({"a": 4, "b": 2}, {"a": 2, "b": 1}, {"a": 4}, "aabaab"),
        ({"a": 2, "b": 2}, {"a": 50, "b": 49}, {"b": 10}, "bbaa"),
        ({}, {"a": 1}, {}, ""),
    ],
)
def test_the_account_that_holds_the_least_for_its_weight_is_next(
    waiting: dict[str, int], held: dict[str, int], weights: dict[str, int], order: str
) -> None:
    assert turns_of(waiting, held=held, weights=weights) == order


def test_of_an_account_the_most_urgent_is_next_and_between_equals_too() -> None:
    turns: Turns[str] = Turns()
    for name, account, urgency in (("late", "a", (1, 5)), ("early", "a", (0, 9)), ("earlier", "b", (0, 3))):
        turns.put(name, account, urgency, name)
    assert round_of(turns) == ["earlier", "early", "late"]


def test_each_is_taken_once_in_a_round_and_what_comes_meanwhile_in_its_turn() -> None:
    turns: Turns[str] = Turns()
    for at, name in enumerate("abc"):
        turns.put(name, "ada", (at,), name)
    assert turns.take(lambda _: 0.0) == "a"
    turns.put("a", "ada", (0,), "a")  # as it was
    turns.put("0", "ada", (-1,), "0")
    turns.put("1", "bob", (9,), "1")
    turns.drop("c")
    assert round_of(turns, {"ada": 0.5}) == ["1", "0", "b"]
    assert turns.take(lambda _: 0.0) is None
    turns.put("b", "ada", (-2,), "b")
    assert round_of(turns) == ["b"], "more urgent than it was"
    turns.begin_round()
    assert (round_of(turns), len(turns)) == (["b", "0", "a", "1"], 4)


def test_however_many_come_in_the_middle_of_a_round_the_next_is_found_at_once() -> None:
    turns: Turns[int] = Turns()
    held, asked = 0.0, []

    def share(account: str) -> float:
        asked.append(account)
        return held

    for number in range(100):
        turns.put(number, "ada", (number,), number)
        assert turns.rank(share, most=1)
    held = 0.5
    asked.clear()
    assert turns.take(share) == 0
    assert len(asked) <= 3, "once for each that came"


def test_as_a_round_begins_accounts_get_their_turns_a_few_at_a_time() -> None:
    turns: Turns[str] = Turns()
    for account in "abcde":
        turns.put(account, account, (), account)
    turns.begin_round()
    assert [turns.rank(lambda _: 0.0, most=2) for _ in range(3)] == [False, False, True]
    assert round_of(turns) == list("abcde")


class Key:
    """Of one that waits. Counts how often any was looked for."""

    asked = 0

    def __hash__(self) -> int:
        Key.asked += 1
        return id(self)


def test_a_round_begins_without_those_that_have_been_launched() -> None:
    turns: Turns[Key] = Turns()
    for number in range(100):
        turns.put(key := Key(), "ada", (number,), key)
    while (launched := turns.take(lambda _: 0.0)) is not None:
        turns.drop(launched)
    turns.begin_round()
    Key.asked = 0
    turns.rank(lambda _: 0.0, most=1)
    assert Key.asked <= 2, "of the last one alone it is not known yet"


CALLS = ["put", "drop", "take", "round", "rank"]


@given(st.lists(st.tuples(st.sampled_from(CALLS), st.integers(0, 9), st.integers(0, 3))))
def test_whoever_waits_is_taken_in_each_round_and_nobody_else(calls: list[tuple[str, int, int]]) -> None:
    turns: Turns[int] = Turns()
    waiting: dict[int, int] = {}
    untaken: set[int] = set()
    for call, key, urgency in calls:
        if call == "put":
            if waiting.get(key) != urgency:
                untaken.add(key)
            waiting[key] = urgency
            turns.put(key, "ab"[key % 2], (urgency,), key)
        elif call == "drop":
            waiting.pop(key, None)
            untaken.discard(key)
            turns.drop(key)
        elif call == "take":
            taken = turns.take(lambda _: 0.0)
            assert (taken is None) == (not untaken)
            if taken is not None:
                assert waiting[taken] == min(waiting[each] for each in untaken)
                untaken.remove(taken)
        elif call == "rank":
            turns.rank(lambda _: 0.0, most=1)
        else:
            untaken = set(waiting)
            turns.begin_round()
    assert len(turns) == len(waiting)


@pytest.mark.parametrize(
    ("need", "weight", "share"),
    [
        (Need(20), 1, 0.2), (Need(20, 5), 1, 0.5), (Need(60, 1), 1, 0.6), (Need(0), 1, 0.0), (Need(20), 4, 0.05),
        (Need(20, 5), 2, 0.25),
    ],
)  # fmt: skip
def test_a_share_is_the_larger_one_of_memory_and_devices_by_weight(need: Need, weight: int, share: float) -> None:
    assert whole_of(NODES) == Need(100, 10)
    assert share_of(need, whole_of(NODES), weight) == pytest.approx(share)


def test_accounts_take_turns_in_being_looked_at() -> None:
    work = WorkQueue()
    work.tell_accounts(lambda name: name[0])
    for name in ("a1", "a2", "a3", "b1", "a1", "c1", "b2"):
        work.add(name)
    assert work.take(0.0, most=4) == ["a1", "b1", "c1", "a2"]
    work.forget("b2")
    work.add("c2")
    assert work.take(0.0, most=9) == ["a3", "c2"]
    assert not work.take(0.0, most=9)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MANY models beside the usual ones."""
    folder = make_models(tmp_path_factory.mktemp("many"))
    for number in range(MANY):
        write(folder / f"many/model-{number}", model(parameters=1000))
    return folder


def answer_those_served(requests: list[Request]) -> None:
    """Whoever has a replica is answered, so that it is idle."""
    for request in [each for each in requests if not each.waits]:
        request.target = request.task.result()
        request.answer()
        requests.remove(request)


async def test_an_account_with_one_cold_model_waits_for_no_more_than_a_boot_of_one_with_fifty(
    tmp_path: Path, many: Path, database: Path
) -> None:
    async with ControlPlane(tmp_path, many, database, memory_bytes=2 * SMALL_BYTES) as control:
        requests = [await control.ask(f"many/model-{number}") for number in range(MANY)]
        await control.settle()
        assert len(control.engine.launched) == 2
        other = await control.ask(TWIN, control.other_account)
        await control.settle()
        assert other.waits
        assert any("another account" in line for line in await control.events("many/model-9"))

        answer_those_served(requests)
        control.step(after_s=10)
        await other.served()
        assert TWIN in [spec.model_id for spec in control.engine.launched[2:4]], "there was room for two"
        assert len(requests) == MANY - 2, "the others go on to wait"

        other.answer()
        while requests:
            control.step(after_s=10)
            await control.settle()
            answer_those_served(requests)
        launched = {spec.model_id for spec in control.engine.launched}
        assert launched == {TWIN, *(f"many/model-{number}" for number in range(MANY))}


async def test_of_what_there_is_an_account_of_weight_3_gets_three_times_as_much(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=8 * SMALL_BYTES) as control:
        control.quotas[control.other_account] = Quota(weight=3)
        control.engine.hold_boots = True
        mine = await control.put(SMALL, min=8, desired=8, max=8)
        theirs = await control.put(TWIN, control.other_account, min=8, desired=8, max=8)
        await control.settle()
        assert [control.states(each).count("starting") for each in (mine, theirs)] == [2, 6]


# --- when there is more to do than a turn has time for ---


class BusyClock(HandClock):
    """Whatever is done between two looks at it takes a tenth of a millisecond."""

    def monotonic(self) -> float:
        self.advance(0.0001)
        return super().monotonic()


async def test_those_that_wait_are_tried_in_pieces_and_none_is_passed_over(
    tmp_path: Path, many: Path, database: Path
) -> None:
    async with ControlPlane(tmp_path, many, database, memory_bytes=SMALL_BYTES, clock=BusyClock()) as control:
        await control.up(TWIN, min=1)
        clusters = [await control.put(f"many/model-{number}") for number in range(MANY)]
        told = [0]
        while told[-1] < MANY:
            control.step()
            told.append(sum(each.waiting_for is not None for each in clusters))
        assert max(after - before for before, after in pairwise(told)) < 10
        await control.patch(TWIN, status="off")
        await control.until(lambda: len(control.engine.launched) > 1)
        assert control.engine.launched[1].model_id == "many/model-0"


async def test_what_one_was_promised_in_an_earlier_turn_is_not_taken_by_those_tried_later(
    tmp_path: Path, many: Path, database: Path
) -> None:
    async with ControlPlane(tmp_path, many, database, memory_bytes=2 * SMALL_BYTES, clock=BusyClock()) as control:
        idle = [await control.up(SMALL), await control.up(TWIN)]
        control.engine.hold_stops = True
        big = await control.put(BIG)
        waiting = await control.ask(BIG)
        clusters = [await control.put(f"many/model-{number}") for number in range(MANY)]
        control.step(after_s=1)
        first, second = map(control.only, idle)
        assert (first.state, second.state) == ("draining", "draining")
        control.engine.die(first.id)
        while not all(each.waiting_for for each in clusters):
            control.step()
        assert len(control.engine.launched) == 2, "each of them would have fitted"
        control.engine.die(second.id)
        await waiting.served()
        assert control.ready(big)
