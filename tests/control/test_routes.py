"""Who takes a request, who waits, and that no slot is ever lost."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from typing import Any, cast

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelyard.clock import SystemClock
from modelyard.control.autoscaler import Load
from modelyard.control.routes import Route, Routes, pick
from modelyard.control.targets import Target
from modelyard.engine.link import Link
from modelyard.errors import BootFailed, ClusterOff, DeadlineExceeded, ModelyardError, QueueFull
from tests.clock import HandClock
from tests.engine.harness import eventually
from tests.loop import turns
from tests.properties import TIMES

CLUSTER = "cl_1"


class Wire:
    """All that routes look at of a link: whether it is closed."""

    def __init__(self) -> None:
        self.closed = False


def link() -> Link:
    return cast(Link, Wire())


class Bench:
    """Routes with one cluster, and how often they asked the loop to look."""

    def __init__(self, max_queued: int = 1000) -> None:
        self.clock = HandClock()
        self.routes = Routes(self.clock, max_queued=max_queued, on_demand=self.poke)
        self.route = self.routes.ensure(CLUSTER)
        self.links: dict[str, tuple[Link, int]] = {}
        self.pokes = 0
        self.recalled: list[str] = []
        """The replicas of which slots were to be given back by other processes, one by one."""
        self.routes.recall = lambda route, count, replica_id: self.recalled.append(replica_id)

    def poke(self, cluster_id: str) -> None:
        assert cluster_id in ("cl_2", CLUSTER)
        self.pokes += 1

    def publish(self, failure: ModelyardError | None = None, **slots: int) -> None:
        """Names the ready replicas and their slots."""
        self.links = {name: (self.links.get(name, (link(), 0))[0], count) for name, count in slots.items()}
        self.routes.publish(CLUSTER, self.links, failure)

    async def acquire(self, deadline_s: float = 30.0) -> Target:
        return await self.routes.acquire(self.route, deadline_s)

    def ask(self, deadline_s: float = 30.0) -> asyncio.Task[Target]:
        return asyncio.create_task(self.acquire(deadline_s))

    def ask_alone(self, deadline_s: float = 30.0) -> asyncio.Task[Target]:
        return asyncio.create_task(self.routes.acquire_alone(self.route, deadline_s))

    def release(self, target: Target) -> None:
        self.routes.release(self.route, target)


async def test_the_replica_with_the_fewest_in_flight_wins() -> None:
    bench = Bench()
    bench.publish(a=2, b=3)
    taken = [(await bench.acquire()).replica_id for _ in range(5)]
    assert sorted(taken[:2]) == sorted(taken[2:4]) == ["a", "b"]
    assert taken[4] == "b"
    assert bench.route.load() == Load(in_flight=5)
    assert (bench.route.in_flight("a"), bench.route.in_flight("b"), bench.route.in_flight("c")) == (2, 3, 0)


def test_a_full_replica_is_never_picked() -> None:
    assert pick(Route("c", targets={"a": Target("a", link(), slots=1, in_flight=1)})) is None
    assert pick(Route("c")) is None


async def test_requests_that_wait_are_served_in_the_order_they_came() -> None:
    bench = Bench()
    asked = [bench.ask() for _ in range(5)]
    await turns()
    assert bench.route.load() == Load(queued=5)
    assert bench.pokes == 5
    bench.publish(a=2)
    for served in range(2, 6):
        await turns()
        assert [task.done() for task in asked] == [n < served for n in range(5)]
        bench.release(asked[served - 2].result())
    bench.release(asked[4].result())
    assert bench.route.load() == Load()


async def test_the_loop_is_asked_to_look_where_more_wait_than_it_knows_of() -> None:
    bench = Bench()
    bench.publish(a=1)
    held = await bench.acquire()
    waiting = [bench.ask(), bench.ask()]
    await turns()
    assert bench.pokes == 2
    for _ in range(5):  # as busy as before
        bench.release(held)
        held = await waiting.pop(0)
        waiting.append(bench.ask())
        await turns()
    assert bench.pokes == 2
    bench.release(held)
    held = await waiting.pop(0)
    bench.publish(a=1)  # the loop has looked: one waits
    waiting.append(bench.ask())
    await turns()
    assert bench.pokes == 3
    bench.release(held)
    for each in waiting:
        bench.release(await each)


async def test_a_newcomer_does_not_overtake_who_waits() -> None:
    bench = Bench()
    bench.publish(a=1)
    held = await bench.acquire()
    first = bench.ask()
    await turns()
    bench.release(held)  # handed to `first`, which has not run yet
    second = bench.ask()
    await turns()
    assert first.done()
    assert not second.done()
    bench.release(first.result())
    bench.release(await second)


async def test_a_full_queue_turns_away_and_says_when_to_come_back() -> None:
    bench = Bench(max_queued=2)
    waiting = [bench.ask(), bench.ask()]
    await turns()
    with pytest.raises(QueueFull, match="2 requests wait") as refusal:
        await bench.acquire()
    assert refusal.value.data["retry_after_s"] > 0
    bench.publish(a=2)
    for task in waiting:
        bench.release(await task)
    bench.release(await bench.acquire())


async def test_slots_that_are_kept_without_a_request_make_no_replica_busy() -> None:
    bench = Bench()
    bench.publish(a=3, b=3, c=3)
    for _ in range(3):
        await bench.acquire()
    bench.routes.note_kept(bench.route, 2, {"b": 1, "c": 1}, 0)
    assert bench.route.load() == Load(in_flight=1)
    assert [bench.route.in_flight(each) for each in "abc"] == [1, 0, 0]
    bench.routes.note_kept(bench.route, 0, {"c": -1}, 0)
    bench.release(bench.route.targets["c"])
    taken = [(await bench.acquire()).replica_id for _ in range(2)]
    assert taken == ["c", "b"]  # first the one of which nobody keeps a slot


async def test_of_a_replica_that_is_free_but_all_lent_a_slot_is_asked_back_while_others_have_requests() -> None:
    bench = Bench()
    bench.publish(a=1, b=2)
    for _ in range(3):
        await bench.acquire()
    bench.routes.note_kept(bench.route, 1, {"b": 1}, 0)
    assert bench.recalled == ["b"]
    waiting = bench.ask()
    await turns()
    assert bench.recalled == ["b", "b"]
    bench.routes.note_kept(bench.route, 1, {"a": 1, "b": 1}, 0)
    assert bench.recalled == ["b", "b"]  # who waits has asked for one
    bench.routes.note_kept(bench.route, 0, {"b": -1}, 0)
    bench.release(bench.route.targets["b"])
    await waiting
    bench.routes.note_kept(bench.route, 0, {"b": -1}, 0)
    bench.release(bench.route.targets["b"])
    bench.routes.note_kept(bench.route, 0, {"b": 1}, 0)
    await bench.acquire()
    assert bench.recalled == ["b", "b", "b"]  # all of its slots are lent again


async def test_where_there_is_one_replica_its_kept_slots_stay_so_until_somebody_waits() -> None:
    bench = Bench()
    bench.publish(a=1)
    await bench.acquire()
    bench.routes.note_kept(bench.route, 1, {"a": 1}, 0)
    assert bench.recalled == []
    waiting = bench.ask()
    await turns()
    assert bench.recalled == ["a"]
    bench.release(bench.route.targets["a"])
    await waiting


async def test_nobody_is_turned_away_for_whom_a_kept_slot_is_asked_back() -> None:
    bench = Bench(max_queued=1)
    bench.publish(a=2)
    for _ in range(2):
        await bench.acquire()
    bench.routes.note_kept(bench.route, 1, {"a": 1}, 0)
    waiting = [bench.ask(), bench.ask()]
    await turns()
    assert bench.route.load() == Load(in_flight=1, queued=2)
    with pytest.raises(QueueFull):
        await bench.acquire()
    bench.publish(a=2, b=2)
    await asyncio.gather(*waiting)


class Shared:
    """Two routes with one replica each in one process, and a third with one of its own as well."""

    def __init__(self) -> None:
        self.routes = Routes(HandClock(), max_queued=1000, on_demand=lambda cluster_id: None)
        self.base, self.adapter, self.other = (self.routes.ensure(name) for name in ("base", "adapter", "other"))
        self.routes.publish("base", {"b": (link(), 2)})
        self.publish_adapter()
        self.routes.publish("other", {"o": (link(), 2), "p": (link(), 2)}, beside={"o": "b"})

    def publish_adapter(self) -> None:
        self.routes.publish("adapter", {"a": (link(), 2)}, beside={"a": "b"})

    async def hold(self, route: Route, *, alone: bool = False) -> Target:
        return await (self.routes.acquire_alone if alone else self.routes.acquire)(route, 30.0)

    def ask(self, route: Route, *, alone: bool = False) -> asyncio.Task[Target]:
        return asyncio.create_task(self.hold(route, alone=alone))


async def test_slots_count_for_each_route_that_shares_a_process() -> None:
    shared = Shared()
    held = [await shared.hold(route) for route in (shared.base, shared.base, shared.adapter, shared.adapter)]
    assert [shared.base.load().in_flight, shared.adapter.load().in_flight] == [2, 2]
    assert {target.process.in_flight for target in held} == {4}
    assert (await shared.hold(shared.other)).replica_id == "p"  # whose process has less to do


async def test_who_needs_a_process_to_itself_waits_for_all_routes_that_share_it() -> None:
    shared = Shared()
    held = await shared.hold(shared.adapter)
    alone = shared.ask(shared.base, alone=True)
    await turns()
    late = shared.ask(shared.adapter)
    elsewhere = await shared.hold(shared.other)
    await turns()
    assert not alone.done()
    assert not late.done()
    assert elsewhere.replica_id == "p"

    shared.routes.release(shared.adapter, held)
    await turns()
    assert alone.done()
    assert not late.done()
    shared.routes.release(shared.base, alone.result())
    shared.routes.release(shared.adapter, await late)
    shared.routes.release(shared.other, elsewhere)
    assert {target.process.in_flight for target in shared.other.targets.values()} == {0}


async def test_who_gives_up_waiting_for_a_process_lets_the_others_go_on() -> None:
    shared = Shared()
    held = await shared.hold(shared.base)
    alone = shared.ask(shared.adapter, alone=True)
    await turns()
    late = shared.ask(shared.base)
    await turns()
    assert not late.done()
    alone.cancel()
    await turns()
    for target in (held, await late):
        shared.routes.release(shared.base, target)
    assert not shared.adapter.load().total


async def test_two_routes_that_wait_for_one_process_get_it_one_after_the_other() -> None:
    shared = Shared()
    held = await shared.hold(shared.base)
    waiting = [shared.ask(route, alone=True) for route in (shared.base, shared.adapter)]
    await turns()
    shared.routes.release(shared.base, held)
    await turns()
    assert [task.done() for task in waiting] == [True, False]
    shared.routes.release(shared.base, waiting[0].result())
    await turns()
    shared.routes.release(shared.adapter, waiting[1].result())


async def test_a_route_whose_replica_goes_blocks_nobody() -> None:
    shared = Shared()
    held = await shared.hold(shared.base)
    alone = shared.ask(shared.adapter, alone=True)
    await turns()
    late = shared.ask(shared.base)
    await turns()
    assert not late.done()
    shared.routes.publish("adapter", {})
    await turns()
    assert late.done()
    assert not alone.done()
    shared.routes.release(shared.base, held)
    shared.routes.release(shared.base, late.result())
    shared.publish_adapter()
    await turns()
    shared.routes.release(shared.adapter, alone.result())


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_in_a_shared_process_nothing_is_held_in_the_end(seed: int) -> None:
    dice, shared = random.Random(seed), Shared()
    every = [shared.base, shared.adapter, shared.other]
    asked: list[tuple[Route, asyncio.Task[Target]]] = []
    for _ in range(200):
        route = dice.choice(every)
        match dice.choice(["ask", "ask", "alone", "release", "release", "give up", "publish"]):
            case "ask":
                asked.append((route, shared.ask(route)))
            case "alone":
                asked.append((route, shared.ask(route, alone=True)))
            case "publish":
                shared.routes.publish("adapter", {})
                shared.publish_adapter()
            case what:
                if asked:
                    route, task = asked.pop(dice.randrange(len(asked)))
                    if what == "release" and task.done():
                        shared.routes.release(route, task.result())
                    else:
                        asked.append((route, task)) if task.done() else task.cancel()
        await turns()
        (process,) = {target.process for target in shared.base.targets.values()}
        assert not (process.alone and process.in_flight > 1)
    while asked:
        done = [(route, task) for route, task in asked if task.done()]
        assert done, "who waits is never served"
        for route, task in done:
            shared.routes.release(route, task.result())
        asked = [pair for pair in asked if pair not in done]
        await turns()
    assert not any(route.load().total for route in every)
    assert not process.in_flight


async def test_who_needs_a_replica_to_itself_shares_it_with_nobody() -> None:
    bench = Bench()
    bench.publish(a=3)
    alone = await bench.ask_alone()
    others = [bench.ask() for _ in range(2)]
    await turns()
    assert not any(task.done() for task in others)
    assert bench.route.load() == Load(in_flight=1, queued=2)
    bench.release(alone)
    for task in others:
        bench.release(await task)
    assert bench.route.load() == Load()


async def test_who_needs_a_replica_to_itself_gets_the_first_that_holds_nothing_before_all_others() -> None:
    bench = Bench(max_queued=1)
    bench.publish(a=2, b=2)
    held = [await bench.acquire() for _ in range(2)]
    first, second = bench.ask_alone(), bench.ask_alone()
    await turns()
    newcomer = bench.ask()
    await turns()
    assert not newcomer.done(), "else no replica would ever be free of work"
    assert bench.route.load() == Load(in_flight=2, queued=3)
    bench.release(held[0])
    await turns()
    assert [task.done() for task in (first, second, newcomer)] == [True, False, False]
    bench.release(first.result())
    assert (await second).in_flight == 1
    bench.release(held[1])
    bench.release(await newcomer)
    bench.release(await second)
    assert bench.route.load() == Load()


@pytest.mark.parametrize("leaves", ["cancelled", "deadline"])
async def test_who_waits_behind_one_that_needs_a_replica_to_itself_is_served_when_that_leaves(leaves: str) -> None:
    bench = Bench()
    bench.publish(a=2)
    held = await bench.acquire()
    alone = bench.ask_alone(deadline_s=30.0 if leaves == "cancelled" else 0.01)
    await turns()
    waiter = bench.ask()
    await turns()
    assert not waiter.done()
    if leaves == "cancelled":
        alone.cancel()
    bench.release(await waiter)
    assert alone.cancelled() or isinstance(alone.exception(), DeadlineExceeded)
    bench.release(held)
    assert bench.route.load() == Load()


async def test_a_failure_concerns_who_needs_a_replica_to_itself_as_well() -> None:
    bench = Bench()
    waiting = bench.ask_alone()
    await turns()
    bench.publish(BootFailed("no such file"))
    for task in (waiting, bench.ask_alone()):
        with pytest.raises(BootFailed, match="no such file"):
            await task
    assert bench.route.load() == Load()


async def test_a_wait_that_runs_out_leaves_the_queue() -> None:
    bench = Bench()
    with pytest.raises(DeadlineExceeded) as raised:
        await bench.acquire(deadline_s=0)
    assert raised.value.data == {"cause": "queue"}
    assert bench.route.load() == Load()
    assert not bench.route.waiting
    bench.publish(a=1)
    bench.release(await bench.acquire())


async def test_a_waiter_that_was_cancelled_keeps_no_slot() -> None:
    bench = Bench()
    tasks = [bench.ask(), bench.ask()]
    await turns()
    tasks[0].cancel()
    await turns()
    bench.publish(a=1)
    await turns()
    assert tasks[0].cancelled()
    assert tasks[1].done()
    bench.release(tasks[1].result())
    assert bench.route.load() == Load()


@pytest.mark.parametrize("first", ["slot", "cancel"])
async def test_a_waiter_cancelled_in_the_tick_it_gets_a_slot_passes_it_on(first: str) -> None:
    bench = Bench()
    leaver, stayer = bench.ask(), bench.ask()
    await turns()
    if first == "slot":
        bench.publish(a=1)
        leaver.cancel()
    else:
        leaver.cancel()
        bench.publish(a=1)
    await turns()
    assert leaver.cancelled()
    assert stayer.done()
    assert bench.route.load() == Load(in_flight=1)
    bench.release(stayer.result())
    assert bench.route.load() == Load()


async def test_a_failure_wakes_everyone_who_waits_and_refuses_who_comes() -> None:
    bench = Bench()
    waiting = [bench.ask() for _ in range(3)]
    await turns()
    bench.publish(BootFailed("no such file"))
    for task in [*waiting, bench.ask()]:
        with pytest.raises(BootFailed, match="no such file"):
            await task
    assert bench.route.load() == Load()
    bench.publish()
    later = bench.ask()
    await turns()
    assert not later.done(), "the failure is over: it may wait again"
    bench.publish(a=1)
    bench.release(await later)


async def test_a_failure_does_not_concern_a_cluster_that_has_a_replica() -> None:
    bench = Bench()
    bench.publish(BootFailed("the second did not start"), a=1)
    held = await bench.acquire()
    waiter = bench.ask()
    await turns()
    bench.release(held)
    bench.release(await waiter)


async def test_a_kept_failure_does_not_collect_the_stacks_it_is_raised_through() -> None:
    bench = Bench()
    failure = BootFailed("no such file", model="org/name")
    bench.publish(failure)
    raised = []
    for _ in range(3):
        with pytest.raises(BootFailed) as caught:
            await bench.acquire()
        raised.append(caught.value)
    assert failure.__traceback__ is None
    assert len({id(error) for error in [failure, *raised]}) == 4
    assert {(error.message, error.data["model"]) for error in raised} == {("no such file", "org/name")}


async def test_a_replica_that_leaves_keeps_what_it_has_and_gets_no_more() -> None:
    bench = Bench()
    bench.publish(a=2)
    held = await bench.acquire()
    bench.publish()
    waiter = bench.ask()
    await turns()
    assert not waiter.done()
    assert bench.route.in_flight("a") == 1
    assert bench.route.load() == Load(in_flight=1, queued=1)
    pokes = bench.pokes
    bench.release(held)
    assert bench.pokes == pokes + 1, "it can be stopped now"
    assert bench.route.load() == Load(queued=1)
    bench.publish(b=1)
    assert (await waiter).replica_id == "b"


async def test_a_lost_replica_is_out_at_once_and_does_not_come_back_while_its_link_is_closed() -> None:
    bench = Bench()
    bench.publish(a=2, b=1)
    target = bench.route.targets["a"]
    held = [await bench.acquire() for _ in range(3)]
    cast(Wire, target.link).closed = True
    bench.routes.lose(bench.route, target)
    bench.routes.lose(bench.route, target)
    bench.publish(a=2, b=1)
    assert list(bench.route.targets) == ["b"]
    for each in held:
        bench.release(each)
    assert bench.route.load() == Load()
    assert not bench.route.leaving


def test_a_lost_replica_may_come_back_when_the_loop_is_asked_to_look_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.control.routes.BACK_S", 0.05)
    count = 40

    async def lose_all() -> list[bool]:
        looks, back = Counter[str](), asyncio.get_running_loop().create_future()
        found: list[bool] = []

        def look(cluster_id: str) -> None:
            looks[cluster_id] += 1
            if looks[cluster_id] == 2:  # the first was at once
                routes.publish(cluster_id, {cluster_id: (link(), 1), "other": (link(), 1)})
                found.append(cluster_id in routes.ensure(cluster_id).targets)
            if len(found) == count:
                back.set_result(None)

        routes = Routes(SystemClock(), max_queued=1, on_demand=look)
        for number in range(count):
            cluster_id = f"cl_{number}"
            routes.publish(cluster_id, {cluster_id: (link(), 1), "other": (link(), 1)})
            route = routes.ensure(cluster_id)
            routes.lose(route, route.targets[cluster_id])
            await turns(5 * number)  # at other parts of a millisecond
        await back
        return found

    assert uvloop.run(lose_all()) == [True] * count


async def test_nobody_is_sent_where_the_connection_is_gone_although_the_loop_has_not_noticed() -> None:
    bench = Bench()
    bench.publish(a=1, b=1)
    cast(Wire, bench.route.targets["a"].link).closed = True
    first = await bench.acquire()
    assert (first.replica_id, bench.route.has_room) == ("b", False)
    waiter, alone = bench.ask(), bench.ask_alone()
    await turns()
    assert not waiter.done()
    bench.release(first)
    second = await alone
    assert (second.replica_id, waiter.done()) == ("b", False)
    bench.release(second)
    bench.release(await waiter)
    assert bench.route.load() == Load()


async def test_a_slot_that_another_server_granted_is_held_whatever_was_granted_since() -> None:
    bench = Bench()
    bench.publish(a=1)
    granted = await bench.acquire()
    held = bench.routes.hold(bench.route, "a")
    assert held is granted
    assert bench.route.load() == Load(in_flight=2)
    waiting = bench.ask()
    await turns(1)
    bench.release(granted)
    await turns(1)
    assert not waiting.done()
    bench.release(granted)
    assert await waiting is granted
    assert bench.routes.hold(bench.route, "gone") is None


async def test_a_replica_that_was_lost_by_mistake_comes_back_with_what_it_holds() -> None:
    bench = Bench()
    bench.publish(a=2)
    held = await bench.acquire()
    bench.routes.lose(bench.route, held)
    bench.publish(a=2)
    assert bench.route.targets["a"] is held
    assert bench.route.in_flight("a") == 1
    bench.release(held)
    assert bench.route.load() == Load()


async def test_the_only_replica_is_back_at_once_where_its_link_is_whole() -> None:
    bench = Bench()
    bench.publish(a=2, b=1)
    for name in ("a", "b"):
        bench.routes.lose(bench.route, bench.route.targets[name])
    bench.publish(a=2, b=1)
    assert list(bench.route.targets) == ["b"], "there was no other when it was lost"


async def test_a_replica_that_was_lost_gets_nothing_for_a_moment_though_its_link_seems_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelyard.control.routes.BACK_S", 0.01)
    bench = Bench()
    bench.publish(a=2, b=1)
    held = await bench.acquire()
    bench.routes.lose(bench.route, held)
    bench.release(held)
    bench.publish(a=2, b=1)
    assert list(bench.route.targets) == ["b"]
    pokes = bench.pokes
    await eventually(lambda: bench.pokes > pokes)
    bench.clock.advance(0.01)
    bench.publish(a=2, b=1)
    assert sorted(bench.route.targets) == ["a", "b"]
    assert not bench.route.lost_at


async def test_a_removed_cluster_fails_who_waits_and_who_still_holds_its_route() -> None:
    bench = Bench()
    bench.publish(a=1)
    held = await bench.acquire()
    waiter = bench.ask()
    await turns()
    bench.routes.remove(CLUSTER, ClusterOff("deleted"))
    bench.routes.remove(CLUSTER, ClusterOff("deleted"))
    for task in (waiter, bench.ask()):
        with pytest.raises(ClusterOff, match="deleted"):
            await task
    bench.release(held)
    assert bench.route.load() == Load()
    assert bench.routes.ensure(CLUSTER) is not bench.route


async def test_every_request_and_every_answer_is_activity() -> None:
    bench = Bench()
    bench.publish(a=1)
    bench.clock.advance(10)
    held = await bench.acquire()
    assert bench.route.last_activity == bench.clock.monotonic()
    bench.clock.advance(10)
    bench.release(held)
    assert bench.route.last_activity == bench.clock.monotonic()


async def test_what_a_cluster_has_to_do_is_its_own() -> None:
    bench = Bench()
    bench.publish(a=1)
    held = await bench.acquire()
    second = bench.routes.ensure("cl_2")
    other = asyncio.create_task(bench.routes.acquire(second, 30))
    await turns()
    assert (bench.route.load(), second.load()) == (Load(in_flight=1), Load(queued=1))
    bench.release(held)
    bench.routes.remove("cl_2", ClusterOff("deleted"))
    with pytest.raises(ClusterOff):
        await other
    assert (bench.route.load(), second.load()) == (Load(), Load())


async def test_counters_are_exactly_zero_after_ten_thousand_random_operations() -> None:
    dice = random.Random(20260501)
    bench = Bench(max_queued=50)
    asked: list[asyncio.Task[Target]] = []
    held: list[Target] = []

    def collect() -> None:
        for task in [task for task in asked if task.done()]:
            asked.remove(task)
            if not task.cancelled() and task.exception() is None:
                held.append(task.result())

    for _ in range(10_000):
        match dice.randrange(12):
            case 0 | 1 | 2 | 3:
                ask = bench.ask_alone if dice.random() < 0.2 else bench.ask
                asked.append(ask(deadline_s=dice.choice([0, 30, 30, 30])))
            case 4 | 5 | 6 if held:
                bench.release(held.pop(dice.randrange(len(held))))
            case 7 | 8 if asked:
                dice.choice(asked).cancel()
            case 9:
                failure = BootFailed("no") if dice.random() < 0.2 else None
                bench.publish(failure, **{name: dice.randrange(1, 4) for name in "abcd" if dice.random() < 0.6})
            case 10 if held:
                bench.routes.lose(bench.route, dice.choice(held))
            case _:
                await turns(dice.randrange(3))
                collect()
    bench.publish(e=sys.maxsize)
    while asked or held:
        await turns()
        collect()
        assert held, "nobody waits for ever"
        bench.release(held.pop())
    assert bench.route.load() == Load()
    assert not bench.route.leaving
    assert not bench.route.waiting
    assert not bench.route.waiting_alone


class RoutesMachine(RuleBasedStateMachine):
    """Any order of asking, leaving, answering, publishing and losing."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.bench = self.runner.run(self.make())
        self.asked: list[asyncio.Task[Target]] = []
        self.held: list[Target] = []

    async def make(self) -> Bench:
        return Bench(max_queued=3)

    def call(self, method: Any, *args: Any, **options: Any) -> Any:
        async def on_the_loop() -> Any:
            return method(*args, **options)

        return self.runner.run(on_the_loop())

    @rule()
    def ask(self) -> None:
        self.asked.append(self.call(self.bench.ask))

    @rule()
    def ask_alone(self) -> None:
        self.asked.append(self.call(self.bench.ask_alone))

    @rule()
    def wait(self) -> None:
        self.runner.run(turns())
        for task in [task for task in self.asked if task.done()]:
            self.asked.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.held.append(task.result())

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.call(self.bench.release, self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.call(data.draw(st.sampled_from(self.asked)).cancel)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.call(self.bench.routes.lose, self.bench.route, data.draw(st.sampled_from(self.held)))

    @rule(slots=st.dictionaries(st.sampled_from("abc"), st.integers(1, 3)), fails=st.booleans())
    def publish(self, slots: dict[str, int], fails: bool) -> None:
        self.call(self.bench.publish, BootFailed("no") if fails else None, **slots)

    @invariant()
    def counts_are_those_of_the_holders(self) -> None:
        unseen = [task for task in self.asked if task.done() and not task.cancelled() and task.exception() is None]
        route = self.bench.route
        handed = 0  # to waiters that have not run yet; they are still among those asked
        in_flight = route.load().in_flight
        assert len(self.held) + len(unseen) <= in_flight
        handed = in_flight - len(self.held) - len(unseen)
        assert handed <= len(self.asked)
        assert all(0 <= target.in_flight <= target.slots for target in route.targets.values())
        assert all(target.in_flight == 1 for target in route.targets.values() if target.alone)
        assert all(target.in_flight > 0 for target in route.leaving.values())
        assert not (route.targets.keys() & route.leaving.keys())

    @invariant()
    def the_loop_knows_of_all_who_wait(self) -> None:
        assert self.bench.route.told_waiting >= self.bench.route.count_waiting()

    @invariant()
    def nobody_waits_beside_a_free_slot(self) -> None:
        route = self.bench.route
        free = pick(route)
        if any(not waiter.done() for waiter in route.waiting_alone):
            assert free is None or free.in_flight > 0
        elif route.load().queued and not route.waiting_alone:
            assert free is None

    def teardown(self) -> None:
        self.call(self.bench.publish, last=sys.maxsize)
        self.wait()
        while self.asked or self.held:
            assert self.held, "nobody waits for ever"
            self.call(self.bench.release, self.held.pop())
            self.wait()
        assert self.bench.route.load() == Load()
        assert not self.bench.route.leaving
        self.runner.close()


RoutesMachine.TestCase.settings = settings(
    max_examples=40 * TIMES, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestRoutesInAnyOrder = RoutesMachine.TestCase
