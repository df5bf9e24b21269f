"""What is wanted is what the store says, whoever wrote it."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import event, text

from modelyard.control.policy import Policy
from modelyard.errors import ClusterOff, StoreUnavailable, UnknownCluster
from modelyard.records.clusters import Capacity
from modelyard.store import notices
from modelyard.store.store import Store
from tests.control.control_plane import SMALL, TWIN, ControlPlane, MakeControl
from tests.loop import turns


def another_process(control: ControlPlane) -> Store:
    """The same database, opened a second time."""
    return Store.open(f"sqlite:///{control.folder}/modelyard.db")


async def test_a_cluster_that_another_process_makes_is_run(make_control: MakeControl) -> None:
    async with make_control() as control:
        with another_process(control) as store:
            store.clusters.put(control.account, SMALL, Capacity(1, 2, 2), 600, control.clock.now())
        assert control.clusters.find(control.account, SMALL) is None
        await control.desired.read()
        managed = control.clusters.get(control.account, SMALL)
        assert control.report(managed).status == "queued"
        await control.until(lambda: len(control.ready(managed)) == 2)


async def test_another_process_changes_what_is_wanted(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(min=1)
        with another_process(control) as store:
            store.clusters.update(managed.cluster.id, capacity=Capacity(2, 2, 3), now=control.clock.now())
            await control.desired.read()
            await control.until(lambda: len(control.ready(managed)) == 2)
            store.clusters.update(managed.cluster.id, enabled=False, now=control.clock.now())
            await control.desired.read()
        with pytest.raises(ClusterOff):
            await (await control.ask()).task
        await control.until(lambda: not managed.replicas)


async def test_a_deletion_by_another_process_stops_every_replica(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(SMALL, desired=2, max=2)
        other = await control.up(TWIN)
        with another_process(control) as store:
            store.clusters.delete(managed.cluster.id)
        await control.desired.read()
        with pytest.raises(UnknownCluster):
            control.clusters.get(control.account, SMALL)
        await control.until(lambda: not managed.replicas)
        control.step()
        assert control.desired.all() == [other]


async def test_only_what_wakes_wakes(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(timeout=100)
        control.step(after_s=101)
        await control.settle()
        assert managed.replicas == {}
        with another_process(control) as store:
            store.clusters.update(managed.cluster.id, timeout_s=200, wake=False, now=control.clock.now())
            await control.desired.read()
            await control.settle()
            assert (managed.cluster.timeout_s, managed.replicas) == (200, {})
            store.clusters.put(control.account, SMALL, Capacity(), 200, control.clock.now())
        await control.desired.read()
        await control.until(lambda: control.ready(managed))


async def test_a_change_goes_on_from_what_another_process_has_stored(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(desired=1, max=1)
        with another_process(control) as store:
            cluster_id = store.clusters.list()[0].id
            store.clusters.update(cluster_id, capacity=Capacity(0, 1, 7), now=control.clock.now())
        managed = await control.patch(desired=3)
        assert managed.cluster.capacity == Capacity(0, 3, 7)


async def test_what_is_counted_here_is_kept_when_another_process_changes_the_cluster(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        await (await control.ask()).done()
        control.step(after_s=3)
        with another_process(control) as store:
            store.clusters.update(managed.cluster.id, timeout_s=77, now=control.clock.now())
        await control.desired.read()
        assert (managed.cluster.timeout_s, control.report(managed).cluster.inferences) == (77, 1)


async def test_the_loop_sees_within_moments_what_another_process_changes(make_control: MakeControl) -> None:
    async with make_control(policy=Policy(read_s=0.01)) as control:
        await control.reconciler.start()
        with another_process(control) as store:
            store.clusters.put(control.account, SMALL, Capacity(1, 1, 1), 600, control.clock.now())
            while (managed := control.clusters.find(control.account, SMALL)) is None:
                await asyncio.sleep(0)
            while not control.ready(managed):
                await asyncio.sleep(0)
            store.clusters.delete(managed.cluster.id)
        while managed.replicas:
            await asyncio.sleep(0)


async def test_where_nobody_writes_nothing_is_read(make_control: MakeControl) -> None:
    async with make_control(policy=Policy(read_s=0.0)) as control:
        await control.desired.read()
        statements: list[str] = []
        engine = control.store._database._engine
        event.listen(engine, "before_cursor_execute", lambda _connection, _cursor, text, *_: statements.append(text))
        reading = asyncio.create_task(control.desired.read_forever())
        while not statements:  # it cannot know yet that it has read all
            await turns()
        await control.settle()
        statements.clear()
        await turns(500)
        assert statements == []
        with another_process(control) as store:
            store.clusters.put(control.account, SMALL, Capacity(), 600, control.clock.now())
        while control.clusters.find(control.account, SMALL) is None:
            await turns()
        reading.cancel()


async def test_where_postgresql_tells_of_changes_nothing_is_read_before_there_is_one(
    make_control: MakeControl, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "ASK_S", 1000.0)
    async with make_control(policy=Policy(read_s=0.0), url=postgresql_url) as control:
        statements: list[str] = []
        engine = control.store._database._engine

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            statements.extend([statement] if "counters" in statement else [])

        event.listen(engine, "before_cursor_execute", note)
        reading = asyncio.create_task(control.desired.read_forever())
        await control.until(lambda: not control.store.may_have_changed())
        await control.settle()
        statements.clear()
        await turns(500)
        assert statements == []
        with Store.open(postgresql_url) as store:
            store.clusters.put(control.account, SMALL, Capacity(), 600, control.clock.now())
        await control.until(lambda: control.clusters.find(control.account, SMALL) is not None)
        reading.cancel()


async def test_a_store_that_is_away_for_a_while_ends_no_reading(
    make_control: MakeControl, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_control(policy=Policy(read_s=0.01, read_again_s=0.01)) as control:
        with another_process(control) as store:
            with store._database.write() as connection:
                connection.execute(text("ALTER TABLE counters RENAME TO away"))
            reading = asyncio.create_task(control.desired.read_forever())
            while caplog.text.count("what is wanted") < 2:
                await asyncio.sleep(0)
            with store._database.write() as connection:
                connection.execute(text("ALTER TABLE away RENAME TO counters"))
            store.clusters.put(control.account, SMALL, Capacity(), 600, control.clock.now())
        while control.clusters.find(control.account, SMALL) is None:
            await asyncio.sleep(0)
        reading.cancel()


@pytest.mark.parametrize("changes", [0, 3])
async def test_of_a_database_that_takes_over_and_lacks_the_last_changes_all_is_read_anew(
    make_control: MakeControl, changes: int
) -> None:
    async with make_control() as control:
        managed = await control.put(SMALL, max=2, timeout=99)
        file = control.folder / "modelyard.db"
        with closing(sqlite3.connect(file)) as database, closing(sqlite3.connect(":memory:")) as behind:
            database.backup(behind)
            lost = await control.put(TWIN)
            await control.patch(SMALL, max=3)
            behind.backup(database)
        control.store._database._closed.set()
        with pytest.raises(StoreUnavailable):
            await control.desired.read()
        control.store._database._closed.clear()
        with another_process(control) as store:
            for number in range(changes):  # as many as were lost, and more
                store.clusters.update(managed.cluster.id, timeout_s=100 + number, now=control.clock.now())

        await control.desired.read()

        assert lost.removed
        assert managed.cluster.capacity.max == 2
        assert managed.cluster.timeout_s == 99 + changes
        await control.patch(SMALL, max=4)
        assert managed.cluster.capacity.max == 4


async def test_clusters_from_before_there_were_versions_are_taken_up(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(min=1)
        with control.store._database.write() as connection:
            connection.execute(text("UPDATE clusters SET version = 0, wake_version = 0"))
            connection.execute(text("DELETE FROM counters"))
    async with make_control() as control:
        await control.until(lambda: control.ready(control.clusters.get(control.account, SMALL)))
