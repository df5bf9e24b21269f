"""Creating, changing and deleting clusters, at once and by several accounts."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.control.clusters import Changes
from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import ClusterOff, InvalidRequest, NotFound, UnknownCluster
from modelyard.records.clusters import Capacity
from tests.control.yard import SMALL, SMALL_BYTES, TWIN, MakeYard
from tests.loop import turns


async def test_a_put_makes_a_cluster_and_the_next_one_changes_it(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        made = await yard.put()
        assert (made.cluster.capacity, made.cluster.timeout_s) == (Capacity(0, 1, 1), 1800)
        changed = await yard.put(desired=2, max=2)
        assert changed is made
        assert (made.cluster.capacity, made.cluster.timeout_s) == (Capacity(0, 2, 2), 1800)
        await yard.put(timeout=60)
        assert (made.cluster.capacity, made.cluster.timeout_s) == (Capacity(0, 2, 2), 60)
        assert [c.capacity for c in yard.store.clusters.list()] == [Capacity(0, 2, 2)]
        words = await yard.events()
        assert "cluster created: min 0, desired 1, max 1, timeout 1800 s" in words
        assert "cluster updated: min 0, desired 2, max 2, timeout 60 s" in words


async def test_two_puts_at_once_both_count(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await asyncio.gather(yard.put(max=5), yard.put(desired=3, max=5), yard.put(timeout=7))
        (stored,) = yard.store.clusters.list()
        assert (stored.capacity, stored.timeout_s) == (Capacity(0, 3, 5), 7)
        assert yard.clusters.get(yard.account, SMALL).cluster.capacity == stored.capacity


async def test_two_patches_at_once_do_not_undo_each_other(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.put(max=4)
        await asyncio.gather(yard.patch(desired=2), yard.patch(timeout=9), yard.patch(min=1))
        (stored,) = yard.store.clusters.list()
        assert (stored.capacity, stored.timeout_s) == (Capacity(1, 2, 4), 9)


async def test_two_hundred_first_requests_make_one_cluster(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        found = await asyncio.gather(*(yard.clusters.ensure(yard.account, SMALL) for _ in range(200)))
        assert len({id(supervised) for supervised in found}) == 1
        assert len(yard.store.clusters.list()) == 1
        await yard.settle()
        assert len(yard.engine.launched) == 1


async def test_what_is_wrong_changes_nothing(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        with pytest.raises(InvalidRequest):
            await yard.put(desired=2)
        assert yard.store.clusters.list() == []
        supervised = await yard.put(desired=2, max=2)
        with pytest.raises(InvalidRequest):
            await yard.patch(min=3)
        assert supervised.cluster.capacity == Capacity(0, 2, 2)
        with pytest.raises(UnknownCluster, match=r"^You have no cluster of tiny/twin\.$"):
            await yard.clusters.patch(yard.account, TWIN, Changes(min=1))
        with pytest.raises(UnknownCluster):
            await yard.clusters.delete(yard.account, TWIN)


async def test_a_client_that_leaves_does_not_leave_half_a_change_behind(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.clusters.model(SMALL)
        for delay in range(12):
            task = asyncio.create_task(yard.put())
            await turns(delay)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await yard.clusters.ensure(yard.account, TWIN)  # takes its turn after whatever is under way
            made = yard.clusters.find(yard.account, SMALL)
            assert (made is not None) == (yard.store.clusters.find(yard.account, SMALL) is not None)
            for model_id in (SMALL, TWIN):
                if yard.clusters.find(yard.account, model_id):
                    await yard.delete(model_id)
        assert made is not None


async def test_a_delete_stops_everything_and_tells_who_waits(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(desired=2, max=2)
        held = [await yard.ask() for _ in range(16)]
        waiting = await yard.ask()
        assert waiting.waits
        await yard.delete()
        with pytest.raises(ClusterOff, match="tiny/small was deleted while this request waited"):
            await waiting.task
        for request in held:
            request.answer()
        assert (supervised.route.load().total, yard.engine.sightings()) == (0, {})
        assert yard.store.clusters.list() == []
        assert yard.clusters.list(yard.account) == []
        assert yard.desired.all() == []
        with pytest.raises(UnknownCluster):
            yard.clusters.get(yard.account, SMALL)
        with pytest.raises(UnknownCluster):
            await yard.delete()
        assert "cluster deleted" in await yard.events()


@pytest.mark.parametrize("when", ["queued", "starting", "loading", "gone"])
async def test_a_cluster_may_be_deleted_at_any_moment(make_yard: MakeYard, when: str) -> None:
    async with make_yard(memory_bytes=SMALL_BYTES) as yard:
        if when == "queued":
            await yard.up(TWIN)
            await yard.ask(TWIN)
        yard.engine.hold_boots = yard.engine.hold_loads = True
        supervised = await yard.put()
        yard.step()
        if when == "loading":
            yard.engine.release_boots()
            await yard.until(lambda: yard.states(supervised) == ["loading"])
        if when == "gone":
            yard.engine.die(yard.only(supervised).id)
        await yard.delete()
        assert supervised.replicas == {}
        assert supervised.cluster.id not in [s.cluster.id for s in yard.desired.all()]


async def test_a_delete_answers_in_time_and_goes_on_stopping(
    make_yard: MakeYard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.control.clusters.DELETE_DEADLINE_S", 0.01)
    async with make_yard() as yard:
        yard.engine.hold_stops = True
        supervised = await yard.up()
        replica = yard.only(supervised)
        await yard.delete()
        yard.step()
        assert yard.states(supervised) == ["draining"]
        yard.engine.die(replica.id)
        yard.step()
        assert yard.desired.all() == []


async def test_a_cluster_made_anew_while_the_old_one_stops_is_another(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_stops = True
        old = await yard.up()
        replica = yard.only(old)
        deleting = asyncio.create_task(yard.clusters.delete(yard.account, SMALL))
        await yard.until(lambda: old.removed)
        yard.step()
        new = await yard.put()
        assert new.cluster.id != old.cluster.id
        await (await yard.ask()).done()
        assert yard.states(old) == ["draining"]
        yard.engine.die(replica.id)
        await yard.until(deleting.done)
        await deleting
        assert yard.clusters.list(yard.account) == [new]
        assert yard.report(new).status is Word.RUNNING


async def test_an_account_reaches_only_its_own(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        mine = await yard.up(SMALL)
        theirs = await yard.up(SMALL, yard.other_account)
        await yard.put(TWIN, yard.other_account)
        assert mine.cluster.id != theirs.cluster.id
        assert yard.clusters.list(yard.account) == [mine]
        assert len(yard.clusters.list(yard.other_account)) == 2
        assert len(yard.clusters.all()) == 3
        with pytest.raises(NotFound):
            yard.clusters.get(yard.account, TWIN)
        await yard.delete()
        assert yard.ready(theirs)
        assert all(life.account_id == yard.account for life in yard.store.instances.list(yard.account))
        assert not any("tiny/twin" in line for line in await yard.events(TWIN))


async def test_a_report_counts_inferences_without_waiting_for_the_store(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up()
        for count in range(1, 4):
            await (await yard.ask()).done()
            assert yard.report(supervised).inferences == count
            yard.step(after_s=1)
        await yard.put(timeout=5)
        assert yard.report(supervised).inferences == 3
        assert yard.report(supervised).cluster.last_inference_at is not None
