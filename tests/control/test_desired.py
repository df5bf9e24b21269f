"""What is wanted is what the store says, whoever wrote it."""

import asyncio

import pytest
from sqlalchemy import text

from modelyard.control.policy import Policy
from modelyard.errors import ClusterOff, UnknownCluster
from modelyard.records.clusters import Capacity
from modelyard.store.store import Store
from tests.control.yard import SMALL, TWIN, MakeYard, Yard


def another_process(yard: Yard) -> Store:
    """The same database, opened a second time."""
    return Store.open(f"sqlite:///{yard.folder}/modelyard.db")


async def test_a_cluster_that_another_process_makes_is_run(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        with another_process(yard) as store:
            store.clusters.put(yard.account, SMALL, Capacity(1, 2, 2), 600, yard.clock.now())
        assert yard.clusters.find(yard.account, SMALL) is None
        await yard.desired.read()
        supervised = yard.clusters.get(yard.account, SMALL)
        assert yard.report(supervised).status == "queued"
        await yard.until(lambda: len(yard.ready(supervised)) == 2)


async def test_another_process_changes_what_is_wanted(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(min=1)
        with another_process(yard) as store:
            store.clusters.update(supervised.cluster.id, capacity=Capacity(2, 2, 3), now=yard.clock.now())
            await yard.desired.read()
            await yard.until(lambda: len(yard.ready(supervised)) == 2)
            store.clusters.update(supervised.cluster.id, enabled=False, now=yard.clock.now())
            await yard.desired.read()
        with pytest.raises(ClusterOff):
            await (await yard.ask()).task
        await yard.until(lambda: not supervised.replicas)


async def test_a_deletion_by_another_process_stops_every_replica(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(SMALL, desired=2, max=2)
        other = await yard.up(TWIN)
        with another_process(yard) as store:
            store.clusters.delete(supervised.cluster.id)
        await yard.desired.read()
        with pytest.raises(UnknownCluster):
            yard.clusters.get(yard.account, SMALL)
        await yard.until(lambda: not supervised.replicas)
        yard.step()
        assert yard.desired.all() == [other]


async def test_only_what_wakes_wakes(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(timeout=100)
        yard.step(after_s=101)
        await yard.settle()
        assert supervised.replicas == {}
        with another_process(yard) as store:
            store.clusters.update(supervised.cluster.id, timeout_s=200, wake=False, now=yard.clock.now())
            await yard.desired.read()
            await yard.settle()
            assert (supervised.cluster.timeout_s, supervised.replicas) == (200, {})
            store.clusters.put(yard.account, SMALL, Capacity(), 200, yard.clock.now())
        await yard.desired.read()
        await yard.until(lambda: yard.ready(supervised))


async def test_a_change_goes_on_from_what_another_process_has_stored(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.put(desired=1, max=1)
        with another_process(yard) as store:
            cluster_id = store.clusters.list()[0].id
            store.clusters.update(cluster_id, capacity=Capacity(0, 1, 7), now=yard.clock.now())
        supervised = await yard.patch(desired=3)
        assert supervised.cluster.capacity == Capacity(0, 3, 7)


async def test_what_is_counted_here_is_kept_when_another_process_changes_the_cluster(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up()
        await (await yard.ask()).done()
        yard.step(after_s=3)
        with another_process(yard) as store:
            store.clusters.update(supervised.cluster.id, timeout_s=77, now=yard.clock.now())
        await yard.desired.read()
        assert (supervised.cluster.timeout_s, yard.report(supervised).inferences) == (77, 1)


async def test_the_loop_sees_within_moments_what_another_process_changes(make_yard: MakeYard) -> None:
    async with make_yard(policy=Policy(read_s=0.01)) as yard:
        await yard.reconciler.start()
        with another_process(yard) as store:
            store.clusters.put(yard.account, SMALL, Capacity(1, 1, 1), 600, yard.clock.now())
            while (supervised := yard.clusters.find(yard.account, SMALL)) is None:
                await asyncio.sleep(0)
            while not yard.ready(supervised):
                await asyncio.sleep(0)
            store.clusters.delete(supervised.cluster.id)
        while supervised.replicas:
            await asyncio.sleep(0)


async def test_a_store_that_is_away_for_a_while_ends_no_reading(
    make_yard: MakeYard, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_yard(policy=Policy(read_s=0.01)) as yard:
        with another_process(yard) as store:
            with store._database.write() as connection:
                connection.execute(text("ALTER TABLE counters RENAME TO away"))
            reading = asyncio.create_task(yard.desired.read_forever())
            while caplog.text.count("what is wanted") < 2:
                await asyncio.sleep(0)
            with store._database.write() as connection:
                connection.execute(text("ALTER TABLE away RENAME TO counters"))
            store.clusters.put(yard.account, SMALL, Capacity(), 600, yard.clock.now())
        while yard.clusters.find(yard.account, SMALL) is None:
            await asyncio.sleep(0)
        reading.cancel()


async def test_clusters_from_before_there_were_versions_are_taken_up(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.put(min=1)
        with yard.store._database.write() as connection:
            connection.execute(text("UPDATE clusters SET version = 0, wake_version = 0"))
            connection.execute(text("DELETE FROM counters"))
    async with make_yard() as yard:
        await yard.until(lambda: yard.ready(yard.clusters.get(yard.account, SMALL)))
