"""How many replicas a cluster has: what was asked for, what the load needs, and none once nobody comes."""

import pytest

from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import ClusterOff
from modelyard.records.models import Measurement
from tests.control.control_plane import SMALL, SMALL_BYTES, MakeControl
from tests.loop import turns

TARGET = 2
"""Requests per replica: a quarter of the eight slots a fake replica has."""


async def test_a_new_cluster_gets_the_replicas_it_desires(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.put(min=1, desired=2, max=3)
        assert control.report(managed).status is Word.QUEUED
        await control.until(lambda: len(control.ready(managed)) == 2)
        await control.settle()
        assert control.states(managed) == ["ready", "ready"]
        assert control.report(managed).status is Word.RUNNING
        assert len(control.engine.launched) == 2


async def test_a_boot_shows_how_far_it_is(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_boots = control.engine.hold_loads = True
        managed = await control.put()
        control.step()
        assert control.report(managed).status is Word.BOOTING
        control.engine.release_boots()
        await control.until(lambda: control.states(managed) == ["loading"])
        assert control.report(managed).status is Word.LOADING
        control.engine.release()
        await control.until(lambda: control.ready(managed))
        report = control.report(managed)
        assert (report.status, report.instances, report.ready) == (Word.RUNNING, 1, 1)


async def test_a_spec_says_all_a_worker_needs(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(desired=2, max=2)
        first, second = control.engine.launched
        assert (first.model_id, first.task, first.path) == (SMALL, "text-generation", str(control.models / SMALL))
        assert {first.replica_id, second.replica_id} == set(control.ready(managed))
        assert first.secret != second.secret
        assert len(first.secret) >= 32
        assert str(first.log_path).startswith(f"{control.account}/tiny--small/")


async def test_load_adds_replicas_up_to_the_maximum_and_never_more(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(max=3)
        requests = await control.requests(TARGET)
        await control.settle()
        assert len(control.ready(managed)) == 1
        requests += await control.requests(1)
        await control.until(lambda: len(control.ready(managed)) == 2)
        requests += await control.requests(40)
        await control.until(lambda: len(control.ready(managed)) == 3)
        await control.settle()
        assert managed.wanted == len(managed.replicas) == 3
        assert control.report(managed).queued == 43 - 24


async def test_a_replica_of_a_measured_model_is_full_at_its_best_batch(make_control: MakeControl) -> None:
    measured = {SMALL: Measurement(SMALL_BYTES, max_batch=5)}
    async with make_control(measured=measured) as control:
        managed = await control.up(max=3)
        await control.requests(5)
        await control.settle()
        assert managed.wanted == 1
        await control.requests(1)
        control.step()
        assert managed.wanted == 2


async def test_queued_requests_count_as_load(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(max=4, timeout=10)
        control.step(after_s=11)
        await control.settle()
        control.engine.hold_boots = True
        await control.requests(3 * TARGET)
        control.step()
        assert managed.wanted == 3


async def test_replicas_go_after_the_stable_window_and_one_stays_while_in_use(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(max=3)
        requests = await control.requests(3 * TARGET)
        await control.until(lambda: len(control.ready(managed)) == 3)
        for request in requests:
            await request.done()
        control.step()
        control.step(after_s=59)
        assert len(control.ready(managed)) == 3
        control.step(after_s=1.1)
        assert control.states(managed) == ["draining", "draining", "ready"]
        await control.settle()
        assert control.states(managed) == ["ready"]


async def test_load_that_comes_and_goes_does_not_make_replicas_come_and_go(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(max=2)
        for _ in range(20):
            requests = await control.requests(2 * TARGET)
            control.step()
            await control.until(lambda: len(control.ready(managed)) == 2)
            for request in requests:
                await request.done()
            control.step(after_s=30)
        assert len(control.engine.launched) == 2
        assert control.engine.stopped == []


async def test_a_replica_that_is_not_needed_finishes_what_it_has(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(desired=2, max=2)
        first, second = [await (await control.ask()).served() for _ in range(2)]
        assert first.replica_id != second.replica_id
        await control.patch(desired=1, max=1)
        control.step()
        assert control.states(managed) == ["draining", "ready"]
        assert control.report(managed).status is Word.SCALING
        (leaving,) = managed.route.leaving.values()
        await control.settle()
        assert control.engine.stopped == []
        control.routes.release(managed.route, leaving)
        await control.settle()
        assert control.engine.stopped == [leaving.replica_id]
        assert control.states(managed) == ["ready"]


async def test_a_replica_that_does_not_finish_is_cut_off(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(desired=2, max=2)
        requests = await control.requests(2)
        await control.patch(desired=1, max=1)
        control.step()
        control.step(after_s=120)
        assert control.engine.stopped == []
        control.step(after_s=0.1)
        await control.settle()
        assert len(control.engine.stopped) == 1
        assert "stopped with 1 requests in flight" in (await control.events())[-1]
        for request in requests:
            request.answer()
        assert managed.route.load().total == 0


# --- idling ---


async def test_an_idle_cluster_goes_to_zero_and_the_clock_starts_when_it_is_ready(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_boots = True
        managed = await control.put(timeout=100)
        control.step()
        control.step(after_s=500)
        assert control.states(managed) == ["starting"], "loading is not idling"
        assert control.report(managed).expires_at is None
        control.engine.release()
        await control.until(lambda: control.ready(managed))
        expires_at = control.report(managed).expires_at
        assert expires_at is not None
        assert (expires_at - control.clock.now()).total_seconds() == 100
        control.step(after_s=99.9)
        assert control.ready(managed)
        control.step(after_s=0.2)
        await control.settle()
        assert managed.replicas == {}
        assert control.report(managed).status is Word.STOPPED
        assert (await control.events()).count("no request for 100 s") == 1


async def test_every_request_and_every_answer_starts_the_idle_clock_anew(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(timeout=100)
        control.step(after_s=90)
        request = await control.ask()
        control.step(after_s=1000)
        assert control.ready(managed), "busy is not idle"
        assert control.report(managed).expires_at is None
        request.answer()
        control.step(after_s=99)
        assert control.ready(managed)
        control.step(after_s=1.1)
        assert not control.ready(managed)


async def test_an_idle_cluster_keeps_its_minimum(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(min=1, desired=3, max=3, timeout=10)
        control.step(after_s=11)
        await control.settle()
        control.step(after_s=1000)
        await control.settle()
        assert control.states(managed) == ["ready"]
        assert control.report(managed).expires_at is None
        assert (await control.events()).count("no request for 10 s") == 1


async def test_a_cluster_does_not_idle_out_while_another_of_its_replicas_boots(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(timeout=10, max=2)
        control.engine.hold_boots = True
        await control.patch(desired=2)
        control.step()
        control.step(after_s=60)
        assert control.states(managed) == ["ready", "starting"]
        control.engine.release()
        await control.until(lambda: len(control.ready(managed)) == 2)
        control.step(after_s=11)
        assert not control.ready(managed)


async def test_with_a_timeout_of_zero_a_replica_goes_with_its_last_request(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.put(timeout=0, desired=0)
        first = await control.ask()
        await first.served()
        second = await control.ask()
        first.answer()
        await control.settle()
        assert control.ready(managed), "one is still in flight"
        second.answer()
        await control.settle()
        assert managed.replicas == {}


async def test_a_request_wakes_an_idle_cluster_with_all_it_desires(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(desired=2, max=3, timeout=10)
        control.step(after_s=11)
        await control.settle()
        assert managed.replicas == {}
        request = await control.ask()
        assert request.waits
        await request.done()
        await control.until(lambda: len(control.ready(managed)) == 2)


async def test_a_cluster_that_desires_none_boots_for_a_request_and_stays_until_it_is_idle(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        managed = await control.put(desired=0, timeout=1000)
        await control.settle()
        assert control.engine.launched == []
        await (await control.ask()).done()
        for _ in range(99):
            control.step(after_s=10)
        assert control.ready(managed), "the stable window is not the idle timeout"
        control.step(after_s=11)
        await control.settle()
        assert managed.replicas == {}


async def test_a_cluster_of_none_at_most_refuses_at_once(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.put(desired=0, max=0)
        with pytest.raises(ClusterOff, match=r"capacity\.max of the cluster of tiny/small is 0"):
            await (await control.ask()).served()
        assert control.report(managed).status is Word.STOPPED
        waiting = await control.patch(max=1)
        await (await control.ask()).done()
        assert control.ready(waiting)


async def test_a_request_for_which_there_is_a_place_is_no_reason_to_look_at_its_cluster(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        managed = await control.up(timeout=100, max=2)
        await control.settle()

        def called_for() -> list[str]:
            return list(control.reconciler._observation.observe(control.clock.monotonic(), 99))

        control.clock.advance(90)
        requests = await control.requests(TARGET)
        assert called_for() == []
        for request in requests:
            request.answer()
        assert called_for() == []
        requests = await control.requests(TARGET + 1)
        assert called_for() == [managed.cluster.id], "another replica is needed"
        for request in requests:
            request.answer()
        control.step(after_s=99)
        assert control.ready(managed)
        control.step(after_s=1.1)
        assert not control.ready(managed), "it is looked at when it has been idle for long enough"


# --- live changes ---


async def test_a_patch_takes_effect_while_the_cluster_runs(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(max=1)
        await control.patch(desired=3, max=3)
        await control.until(lambda: len(control.ready(managed)) == 3)
        await control.patch(desired=1)
        await control.settle()
        assert len(control.ready(managed)) == 1
        await control.patch(timeout=5)
        control.step(after_s=6)
        await control.settle()
        assert managed.replicas == {}


async def test_a_patch_under_load_does_not_take_replicas_away_early(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(max=3)
        requests = await control.requests(3 * TARGET)
        await control.until(lambda: len(control.ready(managed)) == 3)
        for request in requests:
            await request.done()
        await control.patch(desired=1)
        control.step(after_s=1)
        assert len(control.ready(managed)) == 3


async def test_a_new_timeout_alone_does_not_boot_an_idle_cluster(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(timeout=10)
        control.step(after_s=11)
        await control.settle()
        await control.patch(timeout=50)
        await control.settle()
        assert managed.replicas == {}
        await control.put()
        await control.until(lambda: control.ready(managed))


async def test_a_cluster_that_is_switched_off_stops_and_refuses_until_it_is_on_again(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(min=1)
        running = [await control.ask() for _ in range(8)]
        waiting = await control.ask()
        assert waiting.waits
        await control.patch(status="off")
        with pytest.raises(ClusterOff, match=r"tiny/small is off\.$"):
            await waiting.task
        for request in running:
            request.answer()
        await control.settle()
        assert managed.replicas == {}
        assert control.report(managed).status is Word.STOPPED
        with pytest.raises(ClusterOff):
            await (await control.ask()).task
        control.step(after_s=1000)
        assert managed.replicas == {}
        await control.patch(status="on")
        await (await control.ask()).done()
        assert control.report(managed).status is Word.RUNNING


async def test_a_cluster_may_be_switched_on_while_it_still_stops(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_stops = True
        managed = await control.up()
        old = control.only(managed)
        await control.patch(status="off")
        control.step()
        assert control.states(managed) == ["draining"]
        await control.patch(status="on")
        await control.until(lambda: control.ready(managed))
        assert control.ready(managed) != [old.id]
        control.engine.die(old.id, "at last")
        await control.settle()
        assert control.states(managed) == ["ready"]


async def test_a_boot_that_is_not_wanted_any_more_is_stopped(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_boots = True
        managed = await control.put()
        control.step()
        await control.patch(status="off")
        control.step()
        assert control.states(managed) == ["draining"]
        await control.settle()
        assert managed.replicas == {}
        assert (await control.events())[-1].endswith("stopped: no longer needed")


async def test_a_replica_that_becomes_ready_while_it_is_stopped_gets_no_requests(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_boots = control.engine.hold_stops = True
        managed = await control.put()
        control.step()
        replica = control.only(managed)
        await control.patch(status="off")
        control.step()
        control.engine.release()
        await turns(50)
        control.step()
        assert (replica.state, managed.route.targets) == ("draining", {})
        control.engine.die(replica.id)
        await control.settle()
        assert managed.replicas == {}
