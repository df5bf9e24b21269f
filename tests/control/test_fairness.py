"""No account keeps another one waiting: who holds the least for its weight is placed first."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.control.fairness import in_turn, share_of, whole_of
from modelyard.control.work_queue import WorkQueue
from modelyard.engine.base import Device, Need, Node
from modelyard.records.accounts import Quota
from tests.catalog.models import model, write
from tests.control.control_plane import SMALL, SMALL_BYTES, TWIN, ControlPlane, MakeControl, Request

MANY = 50
NODES = (Node("a", 60, devices=(Device("cuda:0", 10),)), Node("b", 40))


def turns_of(waiting: dict[str, int], *, weights: dict[str, int] | None = None, held: dict[str, int]) -> str:
    """The accounts in the order in which their replicas, of one byte each, are placed."""
    holds = {account: held.get(account, 0) for account in waiting}
    queues = {account: [((at,), account) for at in range(count)] for account, count in waiting.items()}
    order = ""
    for account in in_turn(queues, lambda name: share_of(Need(holds[name]), Need(100), (weights or {}).get(name, 1))):
        order += account
        holds[account] += 1
    return order


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
    waiting = {"a": [((1, 5), "late"), ((0, 9), "early")], "b": [((0, 3), "earlier")]}
    assert list(in_turn(waiting, lambda _: 0.0)) == ["earlier", "early", "late"]


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
    """A folder with MANY models, and the one of another account."""
    folder = tmp_path_factory.mktemp("many")
    for name in (TWIN, *(f"many/model-{number}" for number in range(MANY))):
        write(folder / name, model(parameters=1000))
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
