"""Memory on one machine: never overcommitted, taken from the idle, promised to one at a time."""

from __future__ import annotations

import asyncio
import random

import pytest

from modelyard.control.holdings import Holdings
from modelyard.control.placement import Placed, Wait
from modelyard.control.policy import Policy
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.routes import Route
from modelyard.control.states import ClusterStatus as Word
from modelyard.control.urgency import COMPANY, COMPANY_S, PATIENCE
from modelyard.engine.base import Need, Node, Place
from modelyard.records.clusters import Capacity, Cluster
from tests.clock import START, HandClock
from tests.control.control_plane import BIG, SMALL, SMALL_BYTES, THIRD, TWIN, ControlPlane, MakeControl

ONE, TWO, THREE = SMALL_BYTES, 2 * SMALL_BYTES, 3 * SMALL_BYTES


async def test_the_longest_idle_leaves_for_a_newcomer(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=TWO) as control:
        old = await control.up(SMALL)
        control.step(after_s=100)
        young = await control.up(TWIN)
        control.step(after_s=7)
        newcomer = await control.up(THIRD)
        assert (len(old.replicas), len(young.replicas), len(newcomer.replicas)) == (0, 1, 1)
        assert control.report(old).status is Word.STOPPED
        assert any(
            "evicted after 107 s idle, to make room for tiny/third" in line for line in await control.events(SMALL)
        )
        assert "waiting for tiny/small to leave" in await control.events(THIRD)


async def test_an_evicted_cluster_comes_back_for_a_request_only(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=ONE) as control:
        first = await control.up(SMALL)
        request = await control.ask(SMALL)
        control.step()  # sees the load; its window must not bring the replica back
        request.answer()
        second = await control.up(TWIN)
        for _ in range(20):
            control.step(after_s=1)
            await control.settle()
        assert (len(first.replicas), len(second.replicas)) == (0, 1)
        assert len(control.engine.launched) == 2
        await (await control.ask(SMALL)).done()
        assert (len(first.replicas), len(second.replicas)) == (1, 0)


async def test_two_clusters_without_requests_do_not_push_each_other_out_for_ever(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=ONE) as control:
        await control.put(SMALL)
        await control.put(TWIN)
        for _ in range(20):
            control.step(after_s=1)
            await control.settle()
        assert len(control.engine.launched) == 2


async def test_only_as_many_leave_as_are_needed_however_often_the_loop_turns(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=THREE) as control:
        for model_id in (SMALL, TWIN, THIRD):
            await control.up(model_id)
            control.step(after_s=10)
        control.engine.hold_stops = True
        managed = await control.put(BIG)
        for _ in range(10):
            control.step(after_s=0.1)
        leaving = [r for s in control.desired.all() for r in s.replicas.values() if r.state == "draining"]
        assert len(leaving) == 2
        for replica in leaving:
            control.engine.die(replica.id)
        await control.until(lambda: control.ready(managed))
        assert len(control.engine.launched) == 4


async def test_room_that_was_made_for_one_is_not_taken_by_another(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=TWO) as control:
        await control.up(SMALL)
        await control.up(TWIN)
        control.engine.hold_stops = True
        big = await control.put(BIG)
        waiting = await control.ask(BIG)
        control.step(after_s=1)
        late = await control.put(THIRD)
        first, second = [r for s in control.desired.all() for r in s.replicas.values() if r.state == "draining"]
        control.engine.die(first.id)
        control.step(after_s=1)  # now the late one would fit
        assert control.states(late) == ["queued"]
        control.engine.die(second.id)
        await waiting.served()
        assert (control.states(big), control.states(late)) == (["ready"], ["queued"])


async def test_the_busy_stay_and_the_log_says_once_for_whom_one_waits(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=TWO) as control:
        await control.up(SMALL)
        await control.up(TWIN)
        held = [await control.ask(SMALL), await control.ask(TWIN)]
        managed = await control.put(THIRD)
        waiting = await control.ask(THIRD)
        for _ in range(30):
            control.step(after_s=1)
        assert control.report(managed).status is Word.QUEUED
        said = [line for line in await control.events(THIRD) if line.startswith("waiting")]
        assert said == ["waiting for 92 MB, 0 MB free; busy: tiny/small, tiny/twin"]
        held[1].answer()
        await waiting.done()
        assert control.ready(control.clusters.get(control.account, SMALL))


async def test_a_minimum_is_not_taken_away_and_may_take(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=THREE) as control:
        kept = await control.up(SMALL, min=1, desired=2, max=2)
        await control.up(TWIN)
        control.step(after_s=100)
        greedy = await control.put(THIRD, min=3, desired=3, max=3)
        await control.until(lambda: len(control.ready(greedy)) == 2)
        for _ in range(10):
            control.step(after_s=1)
            await control.settle()
        assert len(control.ready(kept)) == 1
        assert control.states(greedy) == ["queued", "ready", "ready"]


async def test_replicas_added_for_speed_push_nobody_out(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=TWO) as control:
        idle = await control.up(SMALL)
        busy = await control.up(TWIN, max=2)
        requests = await control.requests(8, TWIN)
        control.step(after_s=100)
        await control.settle()
        assert control.ready(idle)
        assert control.states(busy) == ["queued", "ready"]
        for request in requests:
            request.answer()


async def test_one_of_two_idle_replicas_may_go_and_the_other_stays(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=TWO) as control:
        pair = await control.up(SMALL, desired=2, max=2)
        control.step(after_s=50)
        newcomer = await control.up(TWIN)
        for _ in range(10):
            control.step(after_s=1)
            await control.settle()
        assert (len(control.ready(pair)), len(control.ready(newcomer))) == (1, 1)
        assert len(control.engine.launched) == 3


async def test_memory_is_shared_between_accounts_but_names_are_not(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=ONE) as control:
        theirs = await control.up(SMALL, control.other_account)
        held = await control.ask(SMALL, control.other_account)
        mine = await control.put(TWIN)
        control.step()
        assert control.states(mine) == ["queued"]
        held.answer()
        control.step(after_s=5)
        await control.until(lambda: control.ready(mine))
        assert theirs.replicas == {}
        words = " ".join(await control.events(TWIN))
        assert "busy: a model of another account" in words
        assert "for which there is no room at the moment" in words
        assert "free" not in words, "what is free tells what others do"
        assert "tiny/small" not in words
        words = " ".join(await control.events(SMALL, control.other_account))
        assert "to make room for a model of another account" in words
        assert "tiny/twin" not in words


async def test_what_a_job_holds_is_other_work_to_whoever_waits_for_it(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=ONE) as control:
        assert isinstance(await control.plane.reserve_memory("secret/model", ONE), Placed)
        await control.put(TWIN)
        control.step()
        words = " ".join(await control.events(TWIN))
        assert "busy: other work" in words
        assert "secret" not in words


async def test_the_operator_reads_whose_models_are_in_the_way(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=ONE, operator="ada") as control:
        held = await control.up(SMALL, control.other_account), await control.ask(SMALL, control.other_account)
        await control.put(TWIN)
        control.step()
        assert "waiting for 92 MB, 0 MB free; busy: tiny/small" in await control.events(TWIN)
        held[1].answer()


async def test_a_draining_replica_holds_its_memory_until_it_is_gone(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=ONE) as control:
        control.engine.hold_stops = True
        first = await control.up(SMALL)
        replica = control.only(first)
        await control.patch(SMALL, status="off")
        second = await control.put(TWIN)
        control.step()
        control.step(after_s=1)
        assert (control.states(first), control.states(second)) == (["draining"], ["queued"])
        control.engine.die(replica.id)
        await control.until(lambda: control.ready(second))


async def test_nobody_leaves_while_as_many_boot_as_there_are_cores(make_control: MakeControl) -> None:
    async with make_control(nodes=[Node("fake", TWO, cores=1)]) as control:
        await control.up(SMALL)
        control.step(after_s=5)
        young = await control.up(TWIN)
        control.engine.hold_boots = True
        first = await control.put(THIRD)
        await control.settle()
        second = await control.put(SMALL, control.other_account)
        await control.settle()
        assert (control.states(first), control.states(second)) == (["starting"], ["queued"])
        assert control.ready(young), "it would serve nobody sooner by leaving"
        control.engine.hold_boots = False
        control.engine.release()
        await control.until(lambda: control.ready(second))
        assert young.replicas == {}


async def test_of_those_that_wait_the_one_goes_first_that_answers_most_requests(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=ONE) as control:
        await control.up(SMALL)
        running = await control.ask(SMALL)
        few, many = await control.put(TWIN), await control.put(THIRD)
        few.boot_s = many.boot_s = 10.0
        waiting = [await control.ask(TWIN), await control.ask(THIRD), await control.ask(THIRD)]
        control.step(after_s=1)
        running.answer()
        await waiting[1].served()
        assert (control.states(few), control.states(many)) == (["queued"], ["ready"])
        for request in waiting[1:]:
            await request.done()
        await waiting[0].done()


async def test_nobody_waits_for_ever_behind_those_for_which_more_requests_wait(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=ONE) as control:
        await control.up(SMALL)
        running = await control.ask(SMALL)
        few, many = await control.put(TWIN), await control.put(THIRD)
        few.boot_s = many.boot_s = 10.0
        waiting = [await control.ask(TWIN), await control.ask(THIRD), await control.ask(THIRD)]
        control.step()
        control.step(after_s=10 * PATIENCE)
        running.answer()
        await waiting[0].served()
        assert (control.states(few), control.states(many)) == (["ready"], ["queued"])
        for request in waiting:
            await request.done()


def test_of_those_that_have_waited_long_at_the_same_moment_some_are_noted_in_each_turn() -> None:
    clock = HandClock()
    active: dict[str, ManagedCluster] = {}
    holdings = Holdings(active, clock)
    for name in "abcde":
        cluster = Cluster(name, "ada", f"org/{name}", Capacity(1, 1, 1), 60, True, START, START)
        managed = active[name] = ManagedCluster(cluster, Route(name), 1, boot_s=1.0)
        managed.replicas[name] = Replica(name, since=clock.monotonic())
        holdings.note(managed)
    assert holdings.note_urgent(clock.monotonic(), most=2), "none has yet"
    clock.advance(10)
    assert [holdings.note_urgent(clock.monotonic(), most=2) for _ in range(3)] == [False, False, True]


async def one_boots_and_one_waits(control: ControlPlane, boot_s: float = 1.0) -> tuple[ManagedCluster, ManagedCluster]:
    """A cluster that is idle and the only one to leave, and another one for which a single request waits, whose last
    boot took so long; a third one boots meanwhile."""
    await control.up(SMALL)
    control.step(after_s=5)
    idle = await control.up(TWIN)
    control.engine.hold_boots = True
    await control.put(THIRD)
    await control.until(lambda: len(control.engine.launched) == 3)
    waits = await control.put(SMALL, control.other_account)
    waits.boot_s = boot_s
    await control.ask(SMALL, control.other_account)
    await control.settle()
    return idle, waits


async def test_for_one_request_nobody_leaves_while_another_boots_until_a_second_one_comes(
    make_control: MakeControl,
) -> None:
    async with make_control(memory_bytes=TWO) as control:
        idle, waits = await one_boots_and_one_waits(control)
        assert (len(control.ready(idle)), control.states(waits)) == (1, ["queued"])
        await control.ask(SMALL, control.other_account)
        await control.until(lambda: control.states(waits) == ["starting"])
        assert idle.replicas == {}


@pytest.mark.parametrize("boot_s", [1.0, 100.0])
async def test_a_single_request_does_not_wait_for_company_for_ever(make_control: MakeControl, boot_s: float) -> None:
    async with make_control(memory_bytes=TWO) as control:
        _, waits = await one_boots_and_one_waits(control, boot_s)
        control.step(after_s=min(COMPANY * boot_s, COMPANY_S) - 0.1)
        await control.settle()
        assert control.states(waits) == ["queued"]
        control.step(after_s=0.2)
        await control.until(lambda: control.states(waits) == ["starting"])


async def shuffle(control: ControlPlane, dice: random.Random) -> None:
    """One thing that clients, replicas or time may do."""
    names = [SMALL, TWIN, THIRD, BIG]
    match dice.randrange(9):
        case 0 | 1 | 2:
            await control.ask(dice.choice(names))
        case 3:
            bounds = sorted(dice.randrange(3) for _ in range(3))
            await control.put(
                dice.choice(names), min=bounds[0], desired=bounds[1], max=bounds[2], timeout=dice.choice([0, 30])
            )
        case 4:
            for managed in control.desired.all():
                route = managed.route
                for target in [*route.targets.values(), *route.leaving.values()]:
                    while target.in_flight:
                        control.routes.release(route, target)
        case 5:
            ready = [name for s in control.desired.all() for name in control.ready(s)]
            if ready:
                control.engine.die(dice.choice(ready))
        case 6:
            dice.choice([control.engine.fail_next, control.engine.refuse_next])("unlucky")
        case 7:
            control.step(after_s=dice.choice([1, 31, 100]))
        case _:
            await control.settle()


async def test_whatever_happens_memory_and_bounds_hold_and_the_ledger_is_in_order(make_control: MakeControl) -> None:
    dice = random.Random(7)
    async with make_control(memory_bytes=THREE) as control:
        for _ in range(250):
            await shuffle(control, dice)
            control.step(after_s=0.1)
            assert control.reserved_bytes() <= THREE
            for managed in control.desired.all():
                assert managed.live() <= managed.cluster.capacity.max
                assert managed.wanted <= managed.cluster.capacity.max
        assert len(control.engine.launched) > 30
        for model_id in (SMALL, TWIN, THIRD, BIG):
            if control.clusters.find(control.account, model_id):
                await control.delete(model_id)
        lives = await control.ledger()
        assert {life.id for life in lives} == {spec.replica_id for spec in control.engine.launched}
        assert all(life.ended_at is not None and life.created_at <= life.ended_at for life in lives)
        assert not any(managed.route.load().total for managed in control.desired.all())
        assert control.engine.sightings() == {}


async def test_a_replica_that_holds_more_than_was_thought_counts_with_all_it_holds(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=THREE) as control:
        control.engine.replica_memory_bytes = ONE + 5_000_000
        await control.up(SMALL)
        assert control.reserved_bytes() == ONE + 5_000_000
        await control.delete(SMALL)
        await control.up(SMALL)
        first, second = [life.memory_bytes for life in await control.ledger()]
        assert first == second <= ONE


async def test_what_replicas_came_to_hold_is_reserved_for_the_next_and_priced_for_none(
    make_control: MakeControl,
) -> None:
    async with make_control(memory_bytes=THREE) as control:
        control.engine.replica_memory_bytes = ONE + 5_000_000
        await control.up(SMALL)
        control.engine.replica_memory_bytes = ONE
        control.engine.die(control.engine.launched[0].replica_id)
        control.step()
        control.step(after_s=31)
        await control.until(lambda: len(control.engine.launched) == 2)
        assert control.reserved_bytes() == ONE + 5_000_000
        first, second = [life.memory_bytes for life in await control.ledger()]
        assert first == second <= ONE


async def test_memory_held_for_other_work_is_free_for_nobody(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=TWO) as control:
        assert await control.plane.reserve_memory("an export", ONE) == Placed(Place("fake"), Need(ONE))
        assert isinstance(await control.plane.reserve_memory("another", TWO), Wait)
        await control.up(SMALL, min=1)
        second = await control.put(TWIN)
        await control.settle()
        assert control.states(second) == ["queued"]
        await control.plane.release_memory("an export")
        await control.until(lambda: control.ready(second))


async def test_a_program_that_a_boot_needs_has_the_idle_leave_for_it(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=TWO) as control:
        idle = await control.up(SMALL)
        busy = await control.up(TWIN, min=1)
        kept = asyncio.Event()
        ended = asyncio.Event()

        async def make() -> None:
            async with control.plane.memory_for("conversion", ONE) as memory_bytes:
                assert memory_bytes == ONE
                kept.set()
                await ended.wait()

        making = asyncio.create_task(make())
        await control.until(kept.is_set)
        assert control.states(idle) == []
        assert control.ready(busy)
        (node,) = (await control.plane.figures()).nodes.values()
        assert node.reserved == control.reserved_bytes() + ONE <= node.budget
        ended.set()
        await making
        (node,) = (await control.plane.figures()).nodes.values()
        assert node.reserved == control.reserved_bytes()


async def test_what_is_larger_than_a_node_gets_all_of_it(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=TWO) as control, control.plane.memory_for("conversion", 2 * TWO) as given:
        assert given == TWO


async def test_one_accounts_boots_keep_no_other_account_waiting(make_control: MakeControl) -> None:
    async with make_control(policy=Policy(boots_at_once=2)) as control:
        control.engine.hold_boots = True
        many = await control.put(min=4, max=4, desired=4)
        await control.settle()
        assert sorted(control.states(many)) == ["queued", "queued", "starting", "starting"]
        other = await control.put(TWIN, control.other_account, min=1)
        await control.settle()
        assert control.states(other) == ["starting"]
        assert "waiting for the account's 2 other boots" in await control.events()
        control.engine.hold_boots = False
        control.engine.release()
        await control.until(lambda: len(control.ready(many)) == 4)
