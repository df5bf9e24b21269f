"""How many replicas a cluster has: what was asked for, what the load needs, and none once nobody comes."""

import pytest

from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import ClusterOff
from tests.control.yard import SMALL, MakeYard
from tests.loop import turns

TARGET = 2
"""Requests per replica: a quarter of the eight slots a fake replica has."""


async def test_a_new_cluster_gets_the_replicas_it_desires(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.put(min=1, desired=2, max=3)
        assert yard.report(supervised).status is Word.QUEUED
        await yard.until(lambda: len(yard.ready(supervised)) == 2)
        await yard.settle()
        assert yard.states(supervised) == ["ready", "ready"]
        assert yard.report(supervised).status is Word.RUNNING
        assert len(yard.engine.launched) == 2


async def test_a_boot_shows_how_far_it_is(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_boots = yard.engine.hold_loads = True
        supervised = await yard.put()
        yard.step()
        assert yard.report(supervised).status is Word.BOOTING
        yard.engine.release_boots()
        await yard.until(lambda: yard.states(supervised) == ["loading"])
        assert yard.report(supervised).status is Word.LOADING
        yard.engine.release()
        await yard.until(lambda: yard.ready(supervised))
        report = yard.report(supervised)
        assert (report.status, report.instances, report.ready) == (Word.RUNNING, 1, 1)


async def test_a_spec_says_all_a_worker_needs(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(desired=2, max=2)
        first, second = yard.engine.launched
        assert (first.model_id, first.task, first.path) == (SMALL, "text-generation", str(yard.models / SMALL))
        assert {first.replica_id, second.replica_id} == set(yard.ready(supervised))
        assert first.secret != second.secret
        assert len(first.secret) >= 32
        assert str(first.log_path).startswith(f"{yard.account}/tiny--small/")


async def test_load_adds_replicas_up_to_the_maximum_and_never_more(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(max=3)
        requests = await yard.requests(TARGET)
        await yard.settle()
        assert len(yard.ready(supervised)) == 1
        requests += await yard.requests(1)
        await yard.until(lambda: len(yard.ready(supervised)) == 2)
        requests += await yard.requests(40)
        await yard.until(lambda: len(yard.ready(supervised)) == 3)
        await yard.settle()
        assert supervised.wanted == len(supervised.replicas) == 3
        assert yard.report(supervised).queued == 43 - 24


async def test_queued_requests_count_as_load(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(max=4, timeout=10)
        yard.step(after_s=11)
        await yard.settle()
        yard.engine.hold_boots = True
        await yard.requests(3 * TARGET)
        yard.step()
        assert supervised.wanted == 3


async def test_replicas_go_after_the_stable_window_and_one_stays_while_in_use(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(max=3)
        requests = await yard.requests(3 * TARGET)
        await yard.until(lambda: len(yard.ready(supervised)) == 3)
        for request in requests:
            await request.done()
        yard.step()
        yard.step(after_s=59)
        assert len(yard.ready(supervised)) == 3
        yard.step(after_s=1.1)
        assert yard.states(supervised) == ["draining", "draining", "ready"]
        await yard.settle()
        assert yard.states(supervised) == ["ready"]


async def test_load_that_comes_and_goes_does_not_make_replicas_come_and_go(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(max=2)
        for _ in range(20):
            requests = await yard.requests(2 * TARGET)
            yard.step()
            await yard.until(lambda: len(yard.ready(supervised)) == 2)
            for request in requests:
                await request.done()
            yard.step(after_s=30)
        assert len(yard.engine.launched) == 2
        assert yard.engine.stopped == []


async def test_a_replica_that_is_not_needed_finishes_what_it_has(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(desired=2, max=2)
        first, second = [await (await yard.ask()).served() for _ in range(2)]
        assert first.replica_id != second.replica_id
        await yard.patch(desired=1, max=1)
        yard.step()
        assert yard.states(supervised) == ["draining", "ready"]
        assert yard.report(supervised).status is Word.SCALING
        (leaving,) = supervised.route.leaving.values()
        await yard.settle()
        assert yard.engine.stopped == []
        yard.routes.release(supervised.route, leaving)
        await yard.settle()
        assert yard.engine.stopped == [leaving.replica_id]
        assert yard.states(supervised) == ["ready"]


async def test_a_replica_that_does_not_finish_is_cut_off(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(desired=2, max=2)
        requests = await yard.requests(2)
        await yard.patch(desired=1, max=1)
        yard.step()
        yard.step(after_s=120)
        assert yard.engine.stopped == []
        yard.step(after_s=0.1)
        await yard.settle()
        assert len(yard.engine.stopped) == 1
        assert "stopped with 1 requests in flight" in (await yard.events())[-1]
        for request in requests:
            request.answer()
        assert supervised.route.load().total == 0


# --- idling ---


async def test_an_idle_cluster_goes_to_zero_and_the_clock_starts_when_it_is_ready(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_boots = True
        supervised = await yard.put(timeout=100)
        yard.step()
        yard.step(after_s=500)
        assert yard.states(supervised) == ["starting"], "loading is not idling"
        assert yard.report(supervised).expires_at is None
        yard.engine.release()
        await yard.until(lambda: yard.ready(supervised))
        expires_at = yard.report(supervised).expires_at
        assert expires_at is not None
        assert (expires_at - yard.clock.now()).total_seconds() == 100
        yard.step(after_s=99.9)
        assert yard.ready(supervised)
        yard.step(after_s=0.2)
        await yard.settle()
        assert supervised.replicas == {}
        assert yard.report(supervised).status is Word.STOPPED
        assert (await yard.events()).count("no request for 100 s") == 1


async def test_every_request_and_every_answer_starts_the_idle_clock_anew(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(timeout=100)
        yard.step(after_s=90)
        request = await yard.ask()
        yard.step(after_s=1000)
        assert yard.ready(supervised), "busy is not idle"
        assert yard.report(supervised).expires_at is None
        request.answer()
        yard.step(after_s=99)
        assert yard.ready(supervised)
        yard.step(after_s=1.1)
        assert not yard.ready(supervised)


async def test_an_idle_cluster_keeps_its_minimum(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(min=1, desired=3, max=3, timeout=10)
        yard.step(after_s=11)
        await yard.settle()
        yard.step(after_s=1000)
        await yard.settle()
        assert yard.states(supervised) == ["ready"]
        assert yard.report(supervised).expires_at is None
        assert (await yard.events()).count("no request for 10 s") == 1


async def test_a_cluster_does_not_idle_out_while_another_of_its_replicas_boots(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(timeout=10, max=2)
        yard.engine.hold_boots = True
        await yard.patch(desired=2)
        yard.step()
        yard.step(after_s=60)
        assert yard.states(supervised) == ["ready", "starting"]
        yard.engine.release()
        await yard.until(lambda: len(yard.ready(supervised)) == 2)
        yard.step(after_s=11)
        assert not yard.ready(supervised)


async def test_with_a_timeout_of_zero_a_replica_goes_with_its_last_request(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.put(timeout=0, desired=0)
        first = await yard.ask()
        await first.served()
        second = await yard.ask()
        first.answer()
        await yard.settle()
        assert yard.ready(supervised), "one is still in flight"
        second.answer()
        await yard.settle()
        assert supervised.replicas == {}


async def test_a_request_wakes_an_idle_cluster_with_all_it_desires(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(desired=2, max=3, timeout=10)
        yard.step(after_s=11)
        await yard.settle()
        assert supervised.replicas == {}
        request = await yard.ask()
        assert request.waits
        await request.done()
        await yard.until(lambda: len(yard.ready(supervised)) == 2)


async def test_a_cluster_that_desires_none_boots_for_a_request_and_stays_until_it_is_idle(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.put(desired=0, timeout=1000)
        await yard.settle()
        assert yard.engine.launched == []
        await (await yard.ask()).done()
        for _ in range(99):
            yard.step(after_s=10)
        assert yard.ready(supervised), "the stable window is not the idle timeout"
        yard.step(after_s=11)
        await yard.settle()
        assert supervised.replicas == {}


async def test_a_cluster_of_none_at_most_refuses_at_once(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.put(desired=0, max=0)
        with pytest.raises(ClusterOff, match=r"capacity\.max of the cluster of tiny/small is 0"):
            await (await yard.ask()).served()
        assert yard.report(supervised).status is Word.STOPPED
        waiting = await yard.patch(max=1)
        await (await yard.ask()).done()
        assert yard.ready(waiting)


# --- live changes ---


async def test_a_patch_takes_effect_while_the_cluster_runs(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(max=1)
        await yard.patch(desired=3, max=3)
        await yard.until(lambda: len(yard.ready(supervised)) == 3)
        await yard.patch(desired=1)
        await yard.settle()
        assert len(yard.ready(supervised)) == 1
        await yard.patch(timeout=5)
        yard.step(after_s=6)
        await yard.settle()
        assert supervised.replicas == {}


async def test_a_patch_under_load_does_not_take_replicas_away_early(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(max=3)
        requests = await yard.requests(3 * TARGET)
        await yard.until(lambda: len(yard.ready(supervised)) == 3)
        for request in requests:
            await request.done()
        await yard.patch(desired=1)
        yard.step(after_s=1)
        assert len(yard.ready(supervised)) == 3


async def test_a_new_timeout_alone_does_not_boot_an_idle_cluster(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(timeout=10)
        yard.step(after_s=11)
        await yard.settle()
        await yard.patch(timeout=50)
        await yard.settle()
        assert supervised.replicas == {}
        await yard.put()
        await yard.until(lambda: yard.ready(supervised))


async def test_a_cluster_that_is_switched_off_stops_and_refuses_until_it_is_on_again(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(min=1)
        running = [await yard.ask() for _ in range(8)]
        waiting = await yard.ask()
        assert waiting.waits
        await yard.patch(status="off")
        with pytest.raises(ClusterOff, match=r"tiny/small is off\.$"):
            await waiting.task
        for request in running:
            request.answer()
        await yard.settle()
        assert supervised.replicas == {}
        assert yard.report(supervised).status is Word.STOPPED
        with pytest.raises(ClusterOff):
            await (await yard.ask()).task
        yard.step(after_s=1000)
        assert supervised.replicas == {}
        await yard.patch(status="on")
        await (await yard.ask()).done()
        assert yard.report(supervised).status is Word.RUNNING


async def test_a_cluster_may_be_switched_on_while_it_still_stops(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_stops = True
        supervised = await yard.up()
        old = yard.only(supervised)
        await yard.patch(status="off")
        yard.step()
        assert yard.states(supervised) == ["draining"]
        await yard.patch(status="on")
        await yard.until(lambda: yard.ready(supervised))
        assert yard.ready(supervised) != [old.id]
        yard.engine.die(old.id, "at last")
        await yard.settle()
        assert yard.states(supervised) == ["ready"]


async def test_a_boot_that_is_not_wanted_any_more_is_stopped(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_boots = True
        supervised = await yard.put()
        yard.step()
        await yard.patch(status="off")
        yard.step()
        assert yard.states(supervised) == ["draining"]
        await yard.settle()
        assert supervised.replicas == {}
        assert (await yard.events())[-1].endswith("stopped: no longer needed")


async def test_a_replica_that_becomes_ready_while_it_is_stopped_gets_no_requests(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_boots = yard.engine.hold_stops = True
        supervised = await yard.put()
        yard.step()
        replica = yard.only(supervised)
        await yard.patch(status="off")
        yard.step()
        yard.engine.release()
        await turns(50)
        yard.step()
        assert (replica.state, supervised.route.targets) == ("draining", {})
        yard.engine.die(replica.id)
        await yard.settle()
        assert supervised.replicas == {}
