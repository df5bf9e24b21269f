"""Gateways and the process that they follow, over real sockets: slots, limits and records are exact, whoever dies."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard.accounts import sessions
from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.accounts.keys import Authenticator, hash_key
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rates import RateLimiter
from modelyard.clock import SteadyClock, SystemClock
from modelyard.control.routes import BACK_S
from modelyard.control.targets import Target
from modelyard.engine.link import Link
from modelyard.errors import (
    DeadlineExceeded,
    ForeignPage,
    NotFound,
    RateLimited,
    ReplicaLost,
    TooManyAtOnce,
    Unauthorized,
    Unavailable,
)
from modelyard.gateway.credentials import COOKIE
from modelyard.gateway.following import frames, kept_slots
from modelyard.gateway.following.files import FilesOfGateways
from modelyard.gateway.following.follower import Counts, Follower
from modelyard.gateway.following.leader import Authority, Leader
from modelyard.gateway.following.requests import FollowedAdmission, FollowedBooks, FollowedTallies
from modelyard.gateway.following.slots import FollowedPlane, FollowedSlots, HeldLink
from modelyard.gateway.metering import OwnBooks
from modelyard.gateway.metrics import InferenceTallies
from modelyard.media.artefacts import PIECE_BYTES, Artefacts
from modelyard.protocol import Usage
from modelyard.records.requests import RequestRecord
from modelyard.worker.processes import bind_privately
from tests.clock import START
from tests.control.control_plane import SMALL, ControlPlane
from tests.engine.harness import eventually
from tests.gateway.http_client import HttpClient

SECRET = "a secret"
DEADLINE_S = 100.0


@dataclass(eq=False)
class FollowingGateway:
    """One gateway's parts, without HTTP."""

    server: Followed
    follower: Follower
    slots: FollowedSlots
    plane: FollowedPlane
    admission: FollowedAdmission
    books: FollowedBooks

    async def acquire(self, model_id: str = SMALL, *, alone: bool = False, deadline_s: float = DEADLINE_S) -> Target:
        """A slot for a request of ada's."""
        route = await self.plane.ensure_route(self.server.control.account, model_id)
        acquire = self.slots.acquire_alone if alone else self.slots.acquire
        return await acquire(route, deadline_s)

    def ask(self, **how: Any) -> asyncio.Task[Target]:
        """The same, beside the test."""
        return asyncio.create_task(self.acquire(**how))

    def release(self, target: Target) -> None:
        """Gives a slot back."""
        self.slots.release(self.server.route, target)

    def answer(self, target: Target) -> None:
        """The request that holds it is answered."""
        self.slots.release(self.server.route, target, answered=True)

    async def die(self) -> None:
        """Breaks its connection, as the death of its process does."""
        await self.slots.close()
        await self.follower.close()


class Followed:
    """A control plane, and what it lets gateways ask."""

    def __init__(self, control: ControlPlane, path: Path, per_minute: int) -> None:
        self.control = control
        self.path = path
        clock = SteadyClock(control.clock)
        self.funds = Funds(control.store, clock)
        self.quotas = Quotas(control.store.accounts.list_with_quota)
        self.tallies = InferenceTallies()
        self.per_minute = per_minute
        books = OwnBooks(control.store, control.journal, self.funds)
        self.authority = Authority(
            plane=control.plane,
            routes=control.routes,
            authenticator=Authenticator(control.store, control.clock),
            limiter=RateLimiter(per_minute, control.clock),
            funds=self.funds,
            quotas=self.quotas,
            aliases=Aliases(control.store.aliases),
            books=books,
            journal=control.journal,
            tallies=self.tallies,
            clock=clock,
        )
        self.leader = Leader(self.authority, SECRET)
        self.gateways: list[FollowingGateway] = []

    async def open(self, stack: ExitStack) -> None:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        bind_privately(listener, str(self.path))
        await self.leader.listen(listener)

    async def gateway(self) -> FollowingGateway:
        """One more that follows."""
        follower = Follower(Aliases(self.control.store.aliases), lambda: None)
        await follower.connect(f"unix:{self.path}", SECRET, len(self.gateways))
        return self.add(follower, FollowedBooks(follower))

    def add(self, follower: Follower, books: FollowedBooks) -> FollowingGateway:
        """A gateway of these, which ends with this."""
        gateway = FollowingGateway(
            self,
            follower,
            FollowedSlots(follower),
            FollowedPlane(follower),
            FollowedAdmission(follower, Counts(follower), books, self.per_minute),
            books,
        )
        self.gateways.append(gateway)
        return gateway

    async def close(self) -> None:
        for gateway in self.gateways:
            await gateway.die()
        await self.leader.close()

    @property
    def route(self) -> Any:
        """Of ada's cluster."""
        (managed,) = self.control.desired.list(self.control.account)
        return managed.route

    async def until(self, condition: Callable[[], Any]) -> None:
        """Turns the control loop until `condition` holds."""
        await self.control.until(condition)

    async def served(self, *tasks: asyncio.Task[Target]) -> list[Target]:
        """The slots that were asked for."""
        await self.until(lambda: all(task.done() for task in tasks))
        return [task.result() for task in tasks]

    def load(self) -> tuple[int, int]:
        """Requests in flight and queued, as the control plane counts them."""
        load = self.route.load()
        return load.in_flight, load.queued


@pytest.fixture
async def followed(tmp_path: Path, models: Path, database: Path) -> AsyncIterator[Followed]:
    with ExitStack() as stack:
        async with ControlPlane(tmp_path, models, database) as control:
            followed = Followed(control, tmp_path / "follow", per_minute=3)
            await followed.open(stack)
            yield followed
            await followed.close()


async def test_gateways_share_the_slots_of_a_replica_without_overfilling_it(followed: Followed) -> None:
    one, other = await followed.gateway(), await followed.gateway()
    await followed.control.up()
    slots = next(iter(followed.route.targets.values())).slots
    tasks = [gateway.ask() for _ in range(slots) for gateway in (one, other)]
    await followed.until(lambda: followed.load() == (slots, slots))
    await followed.until(lambda: sum(task.done() for task in tasks) == slots)
    held = [(gateway, task) for task, gateway in zip(tasks, [one, other] * slots, strict=True) if task.done()]
    assert len(held) == slots
    for gateway, task in held:
        gateway.release(await task)
    await followed.until(lambda: followed.load() == (slots, 0))
    for task, gateway in zip(tasks, [one, other] * slots, strict=True):
        if (gateway, task) not in held:
            gateway.release((await followed.served(task))[0])
    await followed.until(lambda: followed.load() == (0, 0))


async def test_a_request_goes_to_the_replica_past_the_process_that_is_followed(followed: Followed) -> None:
    gateway = await followed.gateway()
    (target,) = await followed.served(gateway.ask())
    outcome = await target.link.request({"text": "hello"}, {"max_new_tokens": 2}, stream=False).run()
    assert "hello" in str(outcome.output)
    gateway.slots.release(followed.route, target, answered=True)
    await followed.until(lambda: (followed.route.finished, followed.load()) == (1, (0, 0)))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots that are kept stay so, unless they are asked back, and requests wait for them."""
    for name in ("IDLE_S", "LENT_S", "WAIT_S"):
        monkeypatch.setattr(kept_slots, name, DEADLINE_S)


async def keep(gateway: FollowingGateway, count: int) -> set[int]:
    """Has so many requests answered at once, after which their slots are kept; the numbers of these."""
    targets = await gateway.server.served(*(gateway.ask() for _ in range(count)))
    for target in targets:
        gateway.answer(target)
    return {number_of(target) for target in targets}


def number_of(target: Target) -> int:
    assert isinstance(target, kept_slots.FollowedTarget)
    return target.held.id


@pytest.mark.usefixtures("patient")
async def test_a_slot_is_kept_for_the_next_request_and_each_answer_is_counted(followed: Followed) -> None:
    gateway = await followed.gateway()
    await followed.control.up()
    (number,) = await keep(gateway, 1)
    assert await keep(gateway, 1) == {number}
    target = await gateway.acquire()
    assert number_of(target) == number
    await followed.until(lambda: (followed.route.finished, followed.load()) == (2, (1, 0)))
    gateway.release(target)
    await followed.until(lambda: followed.load() == (0, 0))


async def test_a_slot_that_nothing_comes_for_is_given_back(followed: Followed) -> None:
    gateway = await followed.gateway()
    await followed.control.up()
    await keep(gateway, 2)
    await followed.until(lambda: (followed.route.finished, followed.load()) == (2, (0, 0)))


async def test_a_slot_is_given_back_with_the_first_answer_after_its_time(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_slots, "IDLE_S", DEADLINE_S)
    monkeypatch.setattr(kept_slots, "LENT_S", 0.0)
    gateway = await followed.gateway()
    await followed.control.up()
    await keep(gateway, 1)
    await followed.until(lambda: (followed.route.finished, followed.load()) == (1, (0, 0)))


@pytest.mark.usefixtures("patient")
async def test_who_waits_has_a_slot_that_another_gateway_keeps(followed: Followed) -> None:
    one, other, third = [await followed.gateway() for _ in range(3)]
    await followed.control.up()
    slots = next(iter(followed.route.targets.values())).slots
    assert slots > 2
    kept = await keep(one, slots - 1)
    last, waiting = await followed.served(other.ask(), other.ask())
    await followed.until(lambda: followed.load() == (2, 0))
    held = await one.acquire()
    assert number_of(held) in kept
    while len(kept) > 2:  # the others that are kept are taken, too
        kept.remove(number_of(await one.acquire()))
    late = third.ask()
    await followed.until(lambda: followed.load() == (slots, 1))
    one.answer(held)  # asked back while a request held it
    third.release((await followed.served(late))[0])
    other.release(last)
    other.release(waiting)


@pytest.mark.usefixtures("patient")
async def test_a_slot_that_no_request_holds_is_asked_back_before_others(followed: Followed) -> None:
    busy, idle, third = [await followed.gateway() for _ in range(3)]
    await followed.control.up()
    slots = next(iter(followed.route.targets.values())).slots
    held = await followed.served(*(busy.ask() for _ in range(slots - 1)))
    await keep(idle, 1)
    await followed.until(lambda: followed.load() == (slots - 1, 0))
    third.release((await followed.served(third.ask()))[0])
    for each in held:
        busy.release(each)
    await followed.until(lambda: followed.load() == (0, 0))


@pytest.mark.usefixtures("patient")
async def test_no_request_waits_behind_another_while_a_replica_has_nothing_but_kept_slots(followed: Followed) -> None:
    one, other = await followed.gateway(), await followed.gateway()
    await followed.control.up(min=2, desired=2, max=2)
    busy, idle = await followed.served(one.ask(), one.ask())
    one.answer(idle)
    await followed.until(lambda: followed.load() == (1, 0))
    (second,) = await followed.served(other.ask())
    assert second.replica_id == idle.replica_id
    for gateway, target in ((one, busy), (other, second)):
        gateway.answer(target)


@pytest.mark.usefixtures("patient")
async def test_a_replica_whose_slots_are_all_kept_is_chosen_before_one_that_has_a_request(followed: Followed) -> None:
    one, other = await followed.gateway(), await followed.gateway()
    await followed.control.up(min=2, desired=2, max=2)
    slots = sum(each.slots for each in followed.route.targets.values())
    busy, *others = await followed.served(*(one.ask() for _ in range(slots)))
    for target in sorted(others, key=lambda each: each.replica_id != busy.replica_id):
        one.answer(target)  # those beside the busy one first: they are given back first of those that are alike
    await followed.until(lambda: followed.load() == (1, 0))
    (chosen,) = await followed.served(other.ask())
    assert chosen.replica_id != busy.replica_id


@pytest.mark.usefixtures("patient")
async def test_of_the_slots_that_a_gateway_keeps_it_takes_the_one_with_the_fewest_requests_beside_it(
    followed: Followed,
) -> None:
    gateway = await followed.gateway()
    await followed.control.up(min=2, desired=2, max=2)
    targets = await followed.served(*(gateway.ask() for _ in range(4)))
    first = targets[0].replica_id
    for target in sorted(targets, key=lambda each: each.replica_id == first):
        gateway.answer(target)
    taken = [(await gateway.acquire()).replica_id for _ in range(4)]
    assert len(set(taken[:2])) == len(set(taken[2:])) == 2


@pytest.mark.usefixtures("patient")
async def test_answers_are_told_together_but_those_that_may_be_on_a_bill_at_once(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.gateway.following.follower.GATHER_S", DEADLINE_S)
    gateway = await followed.gateway()
    await followed.control.up()
    await keep(gateway, 2)
    await keep(gateway, 2)
    await gateway.plane.get_model(followed.control.account, SMALL)  # after all that was told
    assert (followed.route.finished, followed.load()) == (0, (2, 0))
    gateway.follower.tell_gathered()
    await followed.until(lambda: (followed.route.finished, followed.load()) == (4, (0, 0)))
    followed.control.store.accounts.add_credit(followed.control.account, 10**9)
    await followed.funds.open()
    await followed.leader.sync(forgets=False)
    await keep(gateway, 2)
    await followed.until(lambda: (followed.route.finished, followed.load()) == (6, (0, 0)))


@pytest.mark.usefixtures("patient")
async def test_where_there_is_no_other_slot_a_request_waits_for_one_that_its_gateway_has(followed: Followed) -> None:
    gateway = await followed.gateway()
    await followed.control.up()
    slots = next(iter(followed.route.targets.values())).slots
    held = await followed.served(*(gateway.ask() for _ in range(slots)))
    waiting = gateway.ask()
    await followed.until(lambda: followed.load() == (slots, 1))
    assert not followed.route.waiting  # it has not asked
    gateway.answer(held[0])
    (target,) = await followed.served(waiting)
    assert target is held[0]
    await followed.until(lambda: (followed.route.finished, followed.load()) == (1, (slots, 0)))
    leaving = gateway.ask()
    await followed.until(lambda: followed.load() == (slots, 1))
    gateway.answer(target)
    leaving.cancel()  # in the moment in which it is given the slot
    await followed.until(lambda: followed.load() == (slots - 1, 0))
    for each in held[1:]:
        gateway.release(each)
    await followed.until(lambda: followed.load() == (0, 0))


@pytest.mark.usefixtures("patient")
async def test_no_gateway_keeps_a_slot_while_a_request_of_another_waits_for_one(followed: Followed) -> None:
    one, other, late = [await followed.gateway() for _ in range(3)]
    await followed.control.up()
    slots = next(iter(followed.route.targets.values())).slots
    held = await followed.served(*(one.ask() for _ in range(slots)))
    waiting = [other.ask() for _ in range(slots + 1)]
    await followed.until(lambda: len(followed.route.waiting) == slots + 1)  # for which all that are lent are asked back
    last = late.ask()
    await followed.until(lambda: len(followed.route.waiting) == slots + 2)
    for each in held:
        one.answer(each)
    served = await followed.served(*waiting[:slots])
    for each in served[:2]:
        other.answer(each)
    late.release((await followed.served(last))[0])
    for each in [*served[2:], *await followed.served(*waiting[slots:])]:
        other.release(each)
    await followed.until(lambda: followed.load() == (0, 0))


async def test_a_request_that_has_waited_for_a_slot_of_its_gateway_asks_for_one(followed: Followed) -> None:
    gateway, other = await followed.gateway(), await followed.gateway()
    await followed.control.up()
    slots = next(iter(followed.route.targets.values())).slots
    held = await followed.served(*(gateway.ask() for _ in range(slots - 1)), other.ask())
    late = gateway.ask()
    await followed.until(lambda: len(followed.route.waiting) == 1)
    assert followed.load() == (slots, 1)
    other.release(held[-1])
    gateway.release((await followed.served(late))[0])
    for each in held[:-1]:
        gateway.release(each)
    await followed.until(lambda: followed.load() == (0, 0))


@pytest.mark.usefixtures("patient")
async def test_who_needs_a_replica_alone_waits_for_no_slot_that_is_kept(followed: Followed) -> None:
    one, other = await followed.gateway(), await followed.gateway()
    await followed.control.up()
    await keep(one, 2)
    (alone,) = await followed.served(other.ask(alone=True))
    assert followed.load() == (1, 0)
    other.answer(alone)
    await followed.until(lambda: followed.load() == (0, 0))


@pytest.mark.usefixtures("patient")
async def test_slots_of_a_replica_that_is_drained_are_kept_no_longer(followed: Followed) -> None:
    gateway = await followed.gateway()
    managed = await followed.control.up(min=2, desired=2, max=2)
    await keep(gateway, 4)
    await followed.control.patch(min=1, desired=1, max=1)
    await followed.until(lambda: followed.control.states(managed) == ["ready"])
    assert followed.load() == (0, 0)


@pytest.mark.usefixtures("patient")
async def test_before_a_call_is_answered_nothing_is_kept(followed: Followed) -> None:
    gateway = await followed.gateway()
    await followed.control.up()
    await keep(gateway, 2)
    await followed.leader.sync(forgets=False)
    assert (followed.route.finished, followed.load()) == (2, (0, 0))


async def test_a_file_of_another_server_is_fetched_once_for_all_who_ask(followed: Followed, tmp_path: Path) -> None:
    gateways = [await followed.gateway(), await followed.gateway()]
    clock = SystemClock()
    here, there = (Artefacts(tmp_path / name, 60, clock) for name in ("here", "there"))
    here.open()
    there.open()
    gateways[1].follower.read_file = there.read_piece
    files = FilesOfGateways(here, lambda: followed.leader.sessions)
    data = random.Random(7).randbytes(PIECE_BYTES * 5 // 2)
    name, late = there.keep(data, "image/png"), there.keep(data, "image/png")
    await asyncio.gather(files.ensure_here(name), files.ensure_here(name))
    assert here.get(name).path.read_bytes() == data
    assert here.get(name).path.stat().st_mtime == there.get(name).path.stat().st_mtime
    for unknown in ("a" * 32 + ".png", "../server-id"):
        with pytest.raises(NotFound):
            await files.ensure_here(unknown)
    await gateways[1].die()
    with pytest.raises(NotFound):
        await files.ensure_here(late)
    assert [each.name for each in (tmp_path / "here").iterdir()] == [name]


async def test_what_a_dead_gateway_held_and_waited_for_is_free_at_once(followed: Followed) -> None:
    dead, other = await followed.gateway(), await followed.gateway()
    await followed.control.up()
    slots = next(iter(followed.route.targets.values())).slots
    await followed.served(*(dead.ask() for _ in range(slots)))
    waiting = [dead.ask() for _ in range(3)]
    patient = other.ask()
    await followed.until(lambda: followed.load() == (slots, 4))
    await dead.die()
    with pytest.raises(Unavailable):
        await waiting[0]
    (target,) = await followed.served(patient)
    assert followed.load() == (1, 0)
    other.release(target)
    await followed.until(lambda: followed.load() == (0, 0))
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_slot_on_a_replica_that_was_lost_here_meanwhile_is_lost_at_once(followed: Followed) -> None:
    gateway = await followed.gateway()
    first, second = await followed.served(gateway.ask(), gateway.ask())
    followed.control.engine.die(first.replica_id)
    await followed.until(lambda: first.link.closed)
    gateway.release(first)
    given = frames.SlotGiven(10**6, followed.route.cluster_id, first.replica_id)
    late = gateway.ask()
    await asyncio.sleep(0)  # it has asked
    gateway.follower._answer(max(gateway.follower._asked), given)
    target = await late
    assert target.link.closed
    with pytest.raises(ReplicaLost):
        target.link.request({}, {}, stream=False)
    gateway.release(second)


async def test_a_connection_that_breaks_while_its_replica_lives_is_made_anew(followed: Followed) -> None:
    gateway = await followed.gateway()
    (first,) = await followed.served(gateway.ask())
    break_link(first)
    gateway.slots.lose(followed.route, first)
    gateway.release(first)
    await followed.until(lambda: not followed.route.targets)
    followed.control.clock.advance(BACK_S)
    (second,) = await followed.served(gateway.ask())
    assert (second.replica_id, second.link.closed) == (first.replica_id, False)
    assert "hello" in str((await second.link.request({"text": "hello"}, {}, stream=False).run()).output)
    gateway.release(second)


def break_link(target: Target) -> None:
    """Breaks its gateway's connection to a replica, which lives."""
    assert isinstance(target.link, HeldLink)
    assert isinstance(target.link._link, Link)
    target.link._link.abort()


async def test_what_is_asked_of_a_replica_whose_node_is_lost_is_told_so_although_no_connection_breaks(
    followed: Followed,
) -> None:
    gateway = await followed.gateway()
    engine = followed.control.engine
    (target,) = await followed.served(gateway.ask())
    engine.hold_answers()
    answer = asyncio.create_task(target.link.request({"text": "hello"}, {}, stream=False).run())
    await eventually(lambda: engine.model(target.replica_id).seen)
    engine.lose(target.replica_id)
    await followed.until(answer.done)
    with pytest.raises(ReplicaLost):
        await answer
    death = await target.link.find_death(DEADLINE_S)
    assert death is not None
    assert death.host_died
    gateway.slots.lose(followed.route, target)
    gateway.release(target)
    await followed.until(lambda: followed.load() == (0, 0))
    assert target.replica_id not in gateway.follower.doors, "nothing of it is kept"


async def test_who_has_a_replica_alone_has_it_alone_over_all_gateways(followed: Followed) -> None:
    one, other = await followed.gateway(), await followed.gateway()
    (first,) = await followed.served(one.ask())
    alone = other.ask(alone=True)
    await followed.until(lambda: followed.load() == (1, 1))
    later = one.ask()
    await followed.until(lambda: followed.load() == (1, 2))
    one.release(first)
    (held,) = await followed.served(alone)
    assert not later.done()
    assert followed.load() == (1, 1)
    other.release(held)
    (last,) = await followed.served(later)
    one.release(last)
    await followed.until(lambda: followed.load() == (0, 0))


async def test_a_replica_that_is_drained_stays_until_the_last_gateway_has_let_go(followed: Followed) -> None:
    one, other = await followed.gateway(), await followed.gateway()
    managed = await followed.control.up(min=2, desired=2, max=2)
    slots = next(iter(followed.route.targets.values())).slots
    held = [(each, *await followed.served(each.ask())) for _ in range(slots) for each in (one, other)]
    await followed.control.patch(min=1, desired=1, max=1)
    await followed.control.settle()
    assert followed.control.states(managed) == ["draining", "ready"]
    (leaving,) = followed.route.leaving
    on_it = [each for each in held if each[1].replica_id == leaving]
    while on_it:
        assert followed.control.states(managed) == ["draining", "ready"]
        gateway, target = on_it.pop()
        gateway.release(target)
        await followed.until(lambda: followed.route.in_flight(leaving) == len(on_it))
        await followed.control.settle()
    await followed.until(lambda: followed.control.states(managed) == ["ready"])


async def test_who_is_on_a_replica_that_is_ended_for_anothers_sake_is_told_whose_fault_it_is_not(
    followed: Followed,
) -> None:
    one, other = await followed.gateway(), await followed.gateway()
    stuck, beside = await followed.served(one.ask(), other.ask())
    assert stuck.replica_id == beside.replica_id
    one.plane.end_stuck(followed.route.cluster_id, stuck.replica_id, "it went on")
    await followed.until(lambda: beside.link.closed)
    for gateway, target in ((one, stuck), (other, beside)):
        await followed.until(lambda gateway=gateway: stuck.replica_id not in gateway.follower.doors)  # type: ignore[misc]
        gateway.slots.lose(followed.route, target)
        assert target.was_ended
        gateway.release(target)
    (fresh,) = await followed.served(other.ask())
    assert fresh.replica_id != stuck.replica_id
    assert not fresh.was_ended
    other.release(fresh)
    await followed.until(lambda: followed.load() == (0, 0))
    assert any("it went on" in line for line in await followed.control.events())


async def test_a_request_that_waits_too_long_or_leaves_gives_its_place_back(followed: Followed) -> None:
    gateway = await followed.gateway()
    await followed.control.put()  # and nothing boots, for nobody turns the loop
    with pytest.raises(DeadlineExceeded):
        await gateway.acquire(deadline_s=0.01)
    leaving = gateway.ask()
    async with asyncio.timeout(DEADLINE_S):
        while followed.load() != (0, 1):
            await asyncio.sleep(0)
    leaving.cancel()
    async with asyncio.timeout(DEADLINE_S):
        while followed.load() != (0, 0):
            await asyncio.sleep(0)
    assert leaving.cancelled()


async def test_a_key_has_one_minute_over_all_gateways(followed: Followed) -> None:
    gateways = [await followed.gateway(), await followed.gateway()]
    secret = await key_of(followed)
    left = []
    for number in range(3):
        headers: dict[str, str] = {}
        await gateways[number % 2].admission.admit(request_of(secret), headers)
        left.append(headers["ratelimit-remaining"])
    assert left == ["2", "1", "0"]
    for gateway in gateways:
        with pytest.raises(RateLimited):
            await gateway.admission.admit(request_of(secret), {})


async def test_a_session_of_the_console_is_known_to_all_gateways(followed: Followed) -> None:
    gateway = await followed.gateway()
    keys, clock = followed.control.store.keys, followed.control.clock
    key = keys.find_by_hash(hash_key(await key_of(followed)))
    assert key is not None
    cookie = {"cookie": f"{COOKIE}={sessions.begin(keys, key, clock.now())}"}
    own = {"x-modelyard-console": "1", "sec-fetch-site": "same-origin"}
    admitted, _ = await gateway.admission.admit(HttpClient({}, headers={**cookie, **own}).http, {})
    assert admitted == key
    with pytest.raises(ForeignPage):
        await gateway.admission.admit(HttpClient({}, headers=cookie).http, {})
    with pytest.raises(Unauthorized):
        await gateway.admission.admit(HttpClient({}, headers={"cookie": f"{COOKIE}=none", **own}).http, {})


async def test_an_account_has_as_many_requests_at_once_over_all_gateways(followed: Followed) -> None:
    one, other = await followed.gateway(), await followed.gateway()
    secret = await key_of(followed)
    followed.control.store.accounts.set_limits(followed.control.account, max_concurrent=1)
    followed.quotas.read()
    await followed.leader.sync()
    _, under_way = await one.admission.admit(request_of(secret), {})
    with under_way:
        with pytest.raises(TooManyAtOnce):
            await other.admission.admit(request_of(secret), {})
        assert followed.quotas.under_way() == 1
    await followed.until(lambda: followed.quotas.under_way() == 0)
    await other.admission.admit(request_of(secret), {})
    assert followed.quotas.under_way() == 1
    await other.die()
    await followed.until(lambda: followed.quotas.under_way() == 0)


async def test_what_was_set_aside_for_a_dead_gateways_request_is_free_again(followed: Followed) -> None:
    gateway = await followed.gateway()
    account = followed.control.account
    followed.control.store.accounts.add_credit(account, 10**9)
    await followed.funds.open()
    await followed.leader.sync()
    assert gateway.books.is_funded(account)
    record = RequestRecord("req_1", account, SMALL, 10**9, START, None, reserved_nano=10**8, server_id="srv_ours")
    await gateway.books.reserve(record)
    assert followed.control.store.requests.spent_nano(account) == 10**8
    await gateway.die()
    await followed.control.until(lambda: followed.control.journal.unwritten > 0)
    await followed.control.journal.flush()
    found = followed.control.store.requests.find("req_1")
    assert found is not None
    assert (found.outcome, found.charged_nano) == ("lost", 0)
    assert followed.control.store.requests.spent_nano(account) == 0


async def test_a_stranger_is_told_nothing(followed: Followed) -> None:
    follower = Follower(Aliases(followed.control.store.aliases), lambda: None)
    with pytest.raises(Unavailable):
        await follower.connect(f"unix:{followed.path}", "another secret", 0)
    assert not follower.doors
    await follower.close()


async def test_a_gateway_that_asks_what_makes_no_sense_is_left(followed: Followed) -> None:
    gateway = await followed.gateway()
    gateway.follower.tell(frames.Follow(SECRET, 0))
    with pytest.raises(Unavailable):
        await gateway.follower.ask_plainly(1, frames.AskKey(1, None, None), frames.KeyFound)


async def test_what_metrics_count_in_gateways_adds_up_before_a_call_is_answered(followed: Followed) -> None:
    gateways = [FollowedTallies((await followed.gateway()).follower) for _ in range(2)]
    alone = InferenceTallies()
    text = Usage(took_us=900_000, queued_us=2000, first_piece_us=100_000, prompt_tokens=7, new_tokens=5)
    for number, (model_id, status, usage, account_id) in enumerate(
        [
            (SMALL, 200, text, "acc"),
            (SMALL, 500, None, "acc"),
            (SMALL, 200, Usage(took_us=80), "acc2"),
            ("", 404, None, ""),
        ]
    ):
        for tallies in (gateways[number % 2], alone):
            tallies.note("v2", model_id, status, 0.003 * number, usage, account_id)
    await followed.leader.sync(forgets=False)
    assert dict(followed.tallies.models.items()) == dict(alone.models.items())
    assert followed.tallies.take_clusters() == alone.take_clusters()
    gateways[0].note("v2", SMALL, 200, 0.1, text, "acc")
    await followed.until(lambda: followed.tallies.models.of(SMALL).requests["v2", 200] == 3)


@pytest.mark.parametrize("seed", range(5))
async def test_counts_return_to_zero_whatever_gateways_do(followed: Followed, seed: int) -> None:
    chance = random.Random(seed)
    gateways = [await followed.gateway() for _ in range(3)]
    await followed.control.up()
    slots = next(iter(followed.route.targets.values())).slots
    asked: list[tuple[FollowingGateway, asyncio.Task[Target]]] = []
    for _ in range(150):
        match chance.choice(["ask", "ask", "ask", "alone", "release", "release", "cancel", "die", "turn"]):
            case "ask" | "alone" as how:
                gateway = chance.choice(gateways)
                asked.append((gateway, gateway.ask(alone=how == "alone")))
            case "release":
                done = [each for each in asked if each[1].done() and not each[1].cancelled()]
                if done:
                    gateway, task = chance.choice(done)
                    asked.remove((gateway, task))
                    chance.choice([gateway.release, gateway.answer])(task.result())
            case "cancel":
                if asked:
                    gateway, task = chance.choice(asked)
                    if not task.done():
                        task.cancel()
                        asked.remove((gateway, task))
            case "die":
                gateway = chance.choice(gateways)
                gateways[gateways.index(gateway)] = await followed.gateway()
                lost = [each for each in asked if each[0] is gateway]
                asked = [each for each in asked if each[0] is not gateway]
                await gateway.die()
                await asyncio.gather(*(task for _, task in lost), return_exceptions=True)
            case _:
                followed.control.step()
                await asyncio.sleep(0)
        held = [task for _, task in asked if task.done() and not task.cancelled() and not task.exception()]
        assert len(held) <= followed.load()[0] <= slots
    while asked:
        done = [each for each in asked if each[1].done()]
        for gateway, task in done:
            gateway.release(task.result())
        asked = [each for each in asked if each not in done]
        await asyncio.sleep(0)
    await followed.until(lambda: followed.load() == (0, 0))
    process = next(iter(followed.route.targets.values())).process
    assert (process.in_flight, process.alone) == (0, False)


async def key_of(followed: Followed, rate_limit: int | None = None) -> str:
    """A new key of ada's."""
    from modelyard.accounts.administration import Administration

    administration = Administration(followed.control.store, followed.control.clock)
    return administration.create_key("laptop", "ada", rate_limit).secret


def request_of(secret: str) -> Any:
    """A request with this key."""
    return HttpClient({}, key=secret).http
