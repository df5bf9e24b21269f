"""Memory on one machine: never overcommitted, taken from the idle, promised to one at a time."""

from __future__ import annotations

import random

from modelyard.control.placement import Placed, Wait
from modelyard.control.policy import Policy
from modelyard.control.states import ClusterStatus as Word
from modelyard.engine.base import Need, Place
from tests.control.yard import BIG, SMALL, SMALL_BYTES, THIRD, TWIN, MakeYard, Yard

ONE, TWO, THREE = SMALL_BYTES, 2 * SMALL_BYTES, 3 * SMALL_BYTES


async def test_the_longest_idle_leaves_for_a_newcomer(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=TWO) as yard:
        old = await yard.up(SMALL)
        yard.step(after_s=100)
        young = await yard.up(TWIN)
        yard.step(after_s=7)
        newcomer = await yard.up(THIRD)
        assert (len(old.replicas), len(young.replicas), len(newcomer.replicas)) == (0, 1, 1)
        assert yard.report(old).status is Word.STOPPED
        assert any("evicted after 107 s idle, to make room for tiny/third" in line for line in await yard.events(SMALL))
        assert "waiting for tiny/small to leave" in await yard.events(THIRD)


async def test_an_evicted_cluster_comes_back_for_a_request_only(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=ONE) as yard:
        first = await yard.up(SMALL)
        request = await yard.ask(SMALL)
        yard.step()  # sees the load; its window must not bring the replica back
        request.answer()
        second = await yard.up(TWIN)
        for _ in range(20):
            yard.step(after_s=1)
            await yard.settle()
        assert (len(first.replicas), len(second.replicas)) == (0, 1)
        assert len(yard.engine.launched) == 2
        await (await yard.ask(SMALL)).done()
        assert (len(first.replicas), len(second.replicas)) == (1, 0)


async def test_two_clusters_without_requests_do_not_push_each_other_out_for_ever(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=ONE) as yard:
        await yard.put(SMALL)
        await yard.put(TWIN)
        for _ in range(20):
            yard.step(after_s=1)
            await yard.settle()
        assert len(yard.engine.launched) == 2


async def test_only_as_many_leave_as_are_needed_however_often_the_loop_turns(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=THREE) as yard:
        for model_id in (SMALL, TWIN, THIRD):
            await yard.up(model_id)
            yard.step(after_s=10)
        yard.engine.hold_stops = True
        supervised = await yard.put(BIG)
        for _ in range(10):
            yard.step(after_s=0.1)
        leaving = [r for s in yard.desired.all() for r in s.replicas.values() if r.state == "draining"]
        assert len(leaving) == 2
        for replica in leaving:
            yard.engine.die(replica.id)
        await yard.until(lambda: yard.ready(supervised))
        assert len(yard.engine.launched) == 4


async def test_room_that_was_made_for_one_is_not_taken_by_another(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=TWO) as yard:
        await yard.up(SMALL)
        await yard.up(TWIN)
        yard.engine.hold_stops = True
        big = await yard.put(BIG)
        waiting = await yard.ask(BIG)
        yard.step(after_s=1)
        late = await yard.put(THIRD)
        first, second = [r for s in yard.desired.all() for r in s.replicas.values() if r.state == "draining"]
        yard.engine.die(first.id)
        yard.step(after_s=1)  # now the late one would fit
        assert yard.states(late) == ["queued"]
        yard.engine.die(second.id)
        await waiting.served()
        assert (yard.states(big), yard.states(late)) == (["ready"], ["queued"])


async def test_the_busy_stay_and_the_log_says_once_for_whom_one_waits(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=TWO) as yard:
        await yard.up(SMALL)
        await yard.up(TWIN)
        held = [await yard.ask(SMALL), await yard.ask(TWIN)]
        supervised = await yard.put(THIRD)
        waiting = await yard.ask(THIRD)
        for _ in range(30):
            yard.step(after_s=1)
        assert yard.report(supervised).status is Word.QUEUED
        said = [line for line in await yard.events(THIRD) if line.startswith("waiting")]
        assert said == ["waiting for 92 MB, 0 MB free; busy: tiny/small, tiny/twin"]
        held[1].answer()
        await waiting.done()
        assert yard.ready(yard.clusters.get(yard.account, SMALL))


async def test_a_minimum_is_not_taken_away_and_may_take(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=THREE) as yard:
        kept = await yard.up(SMALL, min=1, desired=2, max=2)
        await yard.up(TWIN)
        yard.step(after_s=100)
        greedy = await yard.put(THIRD, min=3, desired=3, max=3)
        await yard.until(lambda: len(yard.ready(greedy)) == 2)
        for _ in range(10):
            yard.step(after_s=1)
            await yard.settle()
        assert len(yard.ready(kept)) == 1
        assert yard.states(greedy) == ["queued", "ready", "ready"]


async def test_replicas_added_for_speed_push_nobody_out(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=TWO) as yard:
        idle = await yard.up(SMALL)
        busy = await yard.up(TWIN, max=2)
        requests = await yard.requests(8, TWIN)
        yard.step(after_s=100)
        await yard.settle()
        assert yard.ready(idle)
        assert yard.states(busy) == ["queued", "ready"]
        for request in requests:
            request.answer()


async def test_one_of_two_idle_replicas_may_go_and_the_other_stays(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=TWO) as yard:
        pair = await yard.up(SMALL, desired=2, max=2)
        yard.step(after_s=50)
        newcomer = await yard.up(TWIN)
        for _ in range(10):
            yard.step(after_s=1)
            await yard.settle()
        assert (len(yard.ready(pair)), len(yard.ready(newcomer))) == (1, 1)
        assert len(yard.engine.launched) == 3


async def test_memory_is_shared_between_accounts_but_names_are_not(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=ONE) as yard:
        theirs = await yard.up(SMALL, yard.other_account)
        held = await yard.ask(SMALL, yard.other_account)
        mine = await yard.put(TWIN)
        yard.step()
        assert yard.states(mine) == ["queued"]
        held.answer()
        yard.step(after_s=5)
        await yard.until(lambda: yard.ready(mine))
        assert theirs.replicas == {}
        words = " ".join(await yard.events(TWIN))
        assert "busy: a model of another account" in words
        assert "tiny/small" not in words
        words = " ".join(await yard.events(SMALL, yard.other_account))
        assert "to make room for a model of another account" in words
        assert "tiny/twin" not in words


async def test_a_draining_replica_holds_its_memory_until_it_is_gone(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=ONE) as yard:
        yard.engine.hold_stops = True
        first = await yard.up(SMALL)
        replica = yard.only(first)
        await yard.patch(SMALL, status="off")
        second = await yard.put(TWIN)
        yard.step()
        yard.step(after_s=1)
        assert (yard.states(first), yard.states(second)) == (["draining"], ["queued"])
        yard.engine.die(replica.id)
        await yard.until(lambda: yard.ready(second))


async def shuffle(yard: Yard, dice: random.Random) -> None:
    """One thing that clients, replicas or time may do."""
    names = [SMALL, TWIN, THIRD, BIG]
    match dice.randrange(9):
        case 0 | 1 | 2:
            await yard.ask(dice.choice(names))
        case 3:
            bounds = sorted(dice.randrange(3) for _ in range(3))
            await yard.put(
                dice.choice(names), min=bounds[0], desired=bounds[1], max=bounds[2], timeout=dice.choice([0, 30])
            )
        case 4:
            for supervised in yard.desired.all():
                route = supervised.route
                for target in [*route.targets.values(), *route.leaving.values()]:
                    while target.in_flight:
                        yard.routes.release(route, target)
        case 5:
            ready = [name for s in yard.desired.all() for name in yard.ready(s)]
            if ready:
                yard.engine.die(dice.choice(ready))
        case 6:
            dice.choice([yard.engine.fail_next, yard.engine.refuse_next])("unlucky")
        case 7:
            yard.step(after_s=dice.choice([1, 31, 100]))
        case _:
            await yard.settle()


async def test_whatever_happens_memory_and_bounds_hold_and_the_ledger_is_in_order(make_yard: MakeYard) -> None:
    dice = random.Random(7)
    async with make_yard(memory_bytes=THREE) as yard:
        for _ in range(250):
            await shuffle(yard, dice)
            yard.step(after_s=0.1)
            assert yard.reserved_bytes() <= THREE
            for supervised in yard.desired.all():
                assert supervised.live() <= supervised.cluster.capacity.max
                assert supervised.wanted <= supervised.cluster.capacity.max
        assert len(yard.engine.launched) > 30
        for model_id in (SMALL, TWIN, THIRD, BIG):
            if yard.clusters.find(yard.account, model_id):
                await yard.delete(model_id)
        lives = await yard.ledger()
        assert {life.id for life in lives} == {spec.replica_id for spec in yard.engine.launched}
        assert all(life.ended_at is not None and life.created_at <= life.ended_at for life in lives)
        assert yard.routes.totals().total == 0
        assert yard.engine.sightings() == {}


async def test_a_replica_that_holds_more_than_was_thought_counts_with_all_it_holds(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=THREE) as yard:
        yard.engine.replica_memory_bytes = ONE + 5_000_000
        await yard.up(SMALL)
        assert yard.reserved_bytes() == ONE + 5_000_000
        await yard.delete(SMALL)
        await yard.up(SMALL)
        first, second = [life.memory_bytes for life in await yard.ledger()]
        assert first == second <= ONE


async def test_what_replicas_came_to_hold_is_reserved_for_the_next_and_priced_for_none(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=THREE) as yard:
        yard.engine.replica_memory_bytes = ONE + 5_000_000
        await yard.up(SMALL)
        yard.engine.replica_memory_bytes = ONE
        yard.engine.die(yard.engine.launched[0].replica_id)
        yard.step()
        yard.step(after_s=31)
        await yard.until(lambda: len(yard.engine.launched) == 2)
        assert yard.reserved_bytes() == ONE + 5_000_000
        first, second = [life.memory_bytes for life in await yard.ledger()]
        assert first == second <= ONE


async def test_memory_held_for_other_work_is_free_for_nobody(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=TWO) as yard:
        assert await yard.plane.reserve_memory("an export", Need(ONE)) == Placed(Place("fake"), Need(ONE))
        assert isinstance(await yard.plane.reserve_memory("another", Need(TWO)), Wait)
        await yard.up(SMALL, min=1)
        second = await yard.put(TWIN)
        await yard.settle()
        assert yard.states(second) == ["queued"]
        await yard.plane.release_memory("an export")
        await yard.until(lambda: yard.ready(second))


async def test_one_accounts_boots_keep_no_other_account_waiting(make_yard: MakeYard) -> None:
    async with make_yard(policy=Policy(boots_at_once=2)) as yard:
        yard.engine.hold_boots = True
        many = await yard.put(min=4, max=4, desired=4)
        await yard.settle()
        assert sorted(yard.states(many)) == ["queued", "queued", "starting", "starting"]
        other = await yard.put(TWIN, yard.other_account, min=1)
        await yard.settle()
        assert yard.states(other) == ["starting"]
        assert "waiting for the account's 2 other boots" in await yard.events()
        yard.engine.hold_boots = False
        yard.engine.release()
        await yard.until(lambda: len(yard.ready(many)) == 4)
