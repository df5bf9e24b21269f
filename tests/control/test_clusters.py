"""Creating, changing and deleting clusters, at once and by several accounts."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import ClusterOff, InvalidRequest, NotFound, UnknownCluster
from modelyard.records.clusters import Capacity, Changes
from tests.control.control_plane import SMALL, SMALL_BYTES, TWIN, MakeControl
from tests.loop import turns


async def test_a_put_makes_a_cluster_and_the_next_one_changes_it(make_control: MakeControl) -> None:
    async with make_control() as control:
        made = await control.put()
        assert (made.cluster.capacity, made.cluster.timeout_s) == (Capacity(0, 1, 1), 1800)
        changed = await control.put(desired=2, max=2)
        assert changed is made
        assert (made.cluster.capacity, made.cluster.timeout_s) == (Capacity(0, 2, 2), 1800)
        await control.put(timeout=60)
        assert (made.cluster.capacity, made.cluster.timeout_s) == (Capacity(0, 2, 2), 60)
        assert [c.capacity for c in control.store.clusters.list()] == [Capacity(0, 2, 2)]
        words = await control.events()
        assert "cluster created: min 0, desired 1, max 1, timeout 1800 s" in words
        assert "cluster updated: min 0, desired 2, max 2, timeout 60 s" in words


async def test_two_puts_at_once_both_count(make_control: MakeControl) -> None:
    async with make_control() as control:
        await asyncio.gather(control.put(max=5), control.put(desired=3, max=5), control.put(timeout=7))
        (stored,) = control.store.clusters.list()
        assert (stored.capacity, stored.timeout_s) == (Capacity(0, 3, 5), 7)
        assert control.clusters.get(control.account, SMALL).cluster.capacity == stored.capacity


async def test_two_patches_at_once_do_not_undo_each_other(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(max=4)
        await asyncio.gather(control.patch(desired=2), control.patch(timeout=9), control.patch(min=1))
        (stored,) = control.store.clusters.list()
        assert (stored.capacity, stored.timeout_s) == (Capacity(1, 2, 4), 9)


async def test_two_hundred_first_requests_make_one_cluster(make_control: MakeControl) -> None:
    async with make_control() as control:
        found = await asyncio.gather(*(control.clusters.ensure(control.account, SMALL) for _ in range(200)))
        assert len({id(managed) for managed in found}) == 1
        assert len(control.store.clusters.list()) == 1
        await control.settle()
        assert len(control.engine.launched) == 1


async def test_what_is_wrong_changes_nothing(make_control: MakeControl) -> None:
    async with make_control() as control:
        with pytest.raises(InvalidRequest):
            await control.put(desired=2)
        assert control.store.clusters.list() == []
        managed = await control.put(desired=2, max=2)
        with pytest.raises(InvalidRequest):
            await control.patch(min=3)
        assert managed.cluster.capacity == Capacity(0, 2, 2)
        with pytest.raises(UnknownCluster, match=r"^You have no cluster of tiny/twin\.$"):
            await control.clusters.patch(control.account, TWIN, Changes(min=1))
        with pytest.raises(UnknownCluster):
            await control.clusters.delete(control.account, TWIN)


async def test_a_client_that_leaves_does_not_leave_half_a_change_behind(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.clusters.model(control.account, SMALL)
        for delay in range(12):
            task = asyncio.create_task(control.put())
            await turns(delay)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await control.clusters.ensure(control.account, TWIN)  # takes its turn after whatever is under way
            made = control.clusters.find(control.account, SMALL)
            assert (made is not None) == (control.store.clusters.find(control.account, SMALL) is not None)
            for model_id in (SMALL, TWIN):
                if control.clusters.find(control.account, model_id):
                    await control.delete(model_id)
        assert made is not None


async def test_a_delete_stops_everything_and_tells_who_waits(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(desired=2, max=2)
        held = [await control.ask() for _ in range(16)]
        waiting = await control.ask()
        assert waiting.waits
        await control.delete()
        with pytest.raises(ClusterOff, match="tiny/small was deleted while this request waited"):
            await waiting.task
        for request in held:
            request.answer()
        assert (managed.route.load().total, control.engine.sightings()) == (0, {})
        assert control.store.clusters.list() == []
        assert control.clusters.list(control.account) == []
        assert control.desired.all() == []
        with pytest.raises(UnknownCluster):
            control.clusters.get(control.account, SMALL)
        with pytest.raises(UnknownCluster):
            await control.delete()
        assert "cluster deleted" in await control.events()


@pytest.mark.parametrize("when", ["queued", "starting", "loading", "gone"])
async def test_a_cluster_may_be_deleted_at_any_moment(make_control: MakeControl, when: str) -> None:
    async with make_control(memory_bytes=SMALL_BYTES) as control:
        if when == "queued":
            await control.up(TWIN)
            await control.ask(TWIN)
        control.engine.hold_boots = control.engine.hold_loads = True
        managed = await control.put()
        control.step()
        if when == "loading":
            control.engine.release_boots()
            await control.until(lambda: control.states(managed) == ["loading"])
        if when == "gone":
            control.engine.die(control.only(managed).id)
        await control.delete()
        assert managed.replicas == {}
        assert managed.cluster.id not in [s.cluster.id for s in control.desired.all()]


async def test_a_delete_answers_in_time_and_goes_on_stopping(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.control.clusters.DELETE_DEADLINE_S", 0.01)
    async with make_control() as control:
        control.engine.hold_stops = True
        managed = await control.up()
        replica = control.only(managed)
        await control.delete()
        control.step()
        assert control.states(managed) == ["draining"]
        control.engine.die(replica.id)
        control.step()
        assert control.desired.all() == []


async def test_a_cluster_made_anew_while_the_old_one_stops_is_another(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_stops = True
        old = await control.up()
        replica = control.only(old)
        deleting = asyncio.create_task(control.clusters.delete(control.account, SMALL))
        await control.until(lambda: old.removed)
        control.step()
        new = await control.put()
        assert new.cluster.id != old.cluster.id
        await (await control.ask()).done()
        assert control.states(old) == ["draining"]
        control.engine.die(replica.id)
        await control.until(deleting.done)
        await deleting
        assert control.clusters.list(control.account) == [new]
        assert control.report(new).status is Word.RUNNING


async def test_an_account_reaches_only_its_own(make_control: MakeControl) -> None:
    async with make_control() as control:
        mine = await control.up(SMALL)
        theirs = await control.up(SMALL, control.other_account)
        await control.put(TWIN, control.other_account)
        assert mine.cluster.id != theirs.cluster.id
        assert control.clusters.list(control.account) == [mine]
        assert len(control.clusters.list(control.other_account)) == 2
        assert control.desired.count() == 3
        with pytest.raises(NotFound):
            control.clusters.get(control.account, TWIN)
        await control.delete()
        assert control.ready(theirs)
        assert all(life.account_id == control.account for life in control.store.instances.list(control.account))
        assert not any("tiny/twin" in line for line in await control.events(TWIN))


async def test_a_report_counts_inferences_without_waiting_for_the_store(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        for count in range(1, 4):
            await (await control.ask()).done()
            answered_at = control.clock.now()
            reported = control.report(managed).cluster
            assert (reported.inferences, reported.last_inference_at) == (count, answered_at)
            control.step(after_s=1)
        await control.put(timeout=5)
        reported = control.report(managed).cluster
        assert (reported.inferences, reported.last_inference_at) == (3, answered_at)
