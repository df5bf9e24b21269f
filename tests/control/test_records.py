"""What is written down, and what the next server makes of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta

import pytest

from modelyard.accounts.ledger import lines
from modelyard.control import reconciler
from modelyard.control.records import Records
from modelyard.control.states import ReplicaState
from modelyard.errors import ClusterOff, NoCapacity
from modelyard.records.instances import Instance, Tariff
from modelyard.worker.memory import start_ticks
from tests.clock import START
from tests.control.control_plane import SMALL, THIRD, TWIN, MakeControl
from tests.loop import turns_of


async def test_a_life_is_opened_became_ready_and_ended_once_each(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_boots = True
        managed = await control.put()
        control.step()
        control.clock.advance(3)
        control.engine.release()
        await control.until(lambda: control.ready(managed))
        control.clock.advance(4)
        await control.patch(status="off")
        await control.until(lambda: not managed.replicas)
        (life,) = await control.ledger()
        assert (life.account_id, life.model_id, life.cluster_id) == (control.account, SMALL, managed.cluster.id)
        assert (life.node, life.id) == ("fake", control.engine.launched[0].replica_id)
        assert life.created_at == START
        assert life.started_at == START + timedelta(seconds=3)
        assert life.ready_at == START + timedelta(seconds=3)
        assert life.ended_at == START + timedelta(seconds=7)
        assert life.end_reason == "no longer needed"
        card = await control.catalog.get(SMALL)
        assert life.memory_bytes == card.memory_bytes
        words = await control.events()
        assert [sum(said in line for line in words) for said in ("starts,", "is ready after 3.00 s", "stopped:")] == [
            1,
            1,
            1,
        ]


@pytest.mark.parametrize("counts", ["life", "ready"])
async def test_the_wait_for_a_process_is_on_no_bill(make_control: MakeControl, counts: str) -> None:
    async with make_control(tariff=Tariff(10**6, minimum_s=0, round_s=0, counts=counts)) as control:
        control.engine.hold_boots = control.engine.hold_loads = True
        managed = await control.put()
        control.step(after_s=17)
        control.engine.release_boots()
        await control.until(lambda: managed.states() == [ReplicaState.LOADING])
        control.step(after_s=3)
        if counts == "life":
            control.engine.release()
            await control.until(lambda: control.ready(managed))
        await control.patch(status="off")
        await control.until(lambda: not managed.replicas)
        (life,) = await control.ledger()
        (line,) = lines([life])
        assert (line.since, line.charge.took_us) == (START + timedelta(seconds=17), 3_000_000)


async def test_a_boot_that_never_got_a_process_is_on_no_bill(make_control: MakeControl) -> None:
    async with make_control(tariff=Tariff(10**6, counts="life")) as control:
        control.engine.hold_boots = True
        managed = await control.put()
        control.step(after_s=17)
        await control.patch(status="off")
        await control.until(lambda: not managed.replicas)
        (life,) = await control.ledger()
        assert life.tariff is not None
        assert list(lines([life])) == []


async def test_a_replica_that_never_started_leaves_no_life(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=1) as control:
        await control.put()
        await control.settle()
        assert await control.ledger() == []


async def test_lives_are_confirmed_every_ten_seconds(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(min=1)
        for _ in range(25):
            control.step(after_s=1)
        (life,) = await control.ledger()
        assert life.heartbeat_at == START + timedelta(seconds=20)
        assert control.ready(managed)


async def test_inferences_are_counted_in_the_store(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.up()
        for _ in range(2):
            await (await control.ask()).done()
        control.step(after_s=1)
        await (await control.ask()).done()
        await control.journal.flush()
        assert control.store.clusters.list()[0].inferences == 0
        control.step(after_s=1)
        await control.journal.flush()
        (stored,) = control.store.clusters.list()
        assert (stored.inferences, stored.last_inference_at) == (3, START + timedelta(seconds=1))
        control.step(after_s=10)
        await control.journal.flush()
        assert control.store.clusters.list()[0].inferences == 3


async def test_of_many_that_were_asked_each_step_counts_some(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "COUNTED_PER_STEP", 1)
    async with make_control() as control:
        for model_id in (SMALL, TWIN, THIRD):
            await control.up(model_id)
            await (await control.ask(model_id)).done()
        control.step()
        for counted in range(1, 4):
            control.changed.clear()
            control.step(after_s=2 * (counted == 1))
            await control.journal.flush()
            assert sum(each.inferences for each in control.store.clusters.list()) == counted
            assert control.changed.is_set() == (counted < 3)


async def test_a_close_ends_every_life_and_refuses_who_waits(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.up(SMALL)
        control.engine.hold_boots = True
        await control.put(TWIN)
        waiting = await control.ask(TWIN)
        await (await control.ask(SMALL)).done()
        control.step()
        await control.reconciler.close()
        with pytest.raises(ClusterOff, match="shutting down"):
            await waiting.task
        assert [life.end_reason for life in await control.ledger()] == ["the server was stopped"] * 2
        stored = {cluster.model_id: cluster.inferences for cluster in control.store.clusters.list()}
        assert stored == {SMALL: 1, TWIN: 0}, "desired state stays"


async def test_others_have_their_turns_while_all_clusters_are_closed(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "CLOSED_AT_ONCE", 1)
    monkeypatch.setattr(reconciler, "COUNTED_PER_STEP", 1)
    async with make_control() as control:
        clusters = [await control.up(model_id) for model_id in (SMALL, TWIN, THIRD)]
        closing = asyncio.create_task(control.reconciler.close())
        refusing, running = set(), set()
        while not closing.done():
            await asyncio.sleep(0)
            refusing.add(sum(each.route.failure is not None for each in clusters))
            running.add(sum(len(each.replicas) for each in clusters))
        await closing
        assert refusing >= {1, 2, 3}
        assert running >= {0, 1, 2}
        assert {life.end_reason for life in await control.ledger()} == {"the server was stopped"}


async def test_after_an_error_all_clusters_are_looked_at_again(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MARKED_AT_ONCE", 1)
    async with make_control() as control:
        clusters = [await control.put(model_id, desired=0) for model_id in (SMALL, TWIN, THIRD)]
        await control.settle()
        assert await turns_of(control.reconciler._look_at_all_soon()) > len(clusters)
        control.clock.advance(control.policy.tick_s)
        taken = control.work.take(control.clock.monotonic(), 99)
        assert set(taken) == {each.cluster.id for each in clusters}


async def test_a_restart_brings_back_what_was_in_use_and_nothing_else(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.up(TWIN, timeout=100)
        await control.put(THIRD, min=1, desired=2, max=2, timeout=100)
        await control.settle()
        control.step(after_s=150)
        await control.up(SMALL, desired=2, max=2, timeout=100)
        off = control.clock
    async with make_control(clock=off) as control:
        off.advance(40)
        await control.settle()
        running = {spec.model_id for spec in control.engine.launched}
        assert running == {SMALL, THIRD}
        assert len(control.clusters.list(control.account)) == 3
        assert len(control.ready(control.clusters.get(control.account, SMALL))) == 2
        assert len(control.ready(control.clusters.get(control.account, THIRD))) == 1
        await (await control.ask(TWIN)).done()


async def test_a_cluster_that_was_off_stays_off_after_a_restart(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(min=1)
        await control.patch(status="off")
    async with make_control() as control:
        await control.settle()
        assert control.engine.launched == []
        with pytest.raises(ClusterOff):
            await (await control.ask()).task


@pytest.mark.parametrize("node", ["fake", "another name for the same container"])
async def test_after_a_kill_lives_end_where_they_were_last_confirmed(make_control: MakeControl, node: str) -> None:
    async with make_control() as control:
        await control.up(min=1)
        control.step(after_s=12)
        control.step(after_s=7)
        await control.kill()
        clock = control.clock
    clock.advance(1000)
    async with make_control(clock=clock, node=node) as control:
        (old,) = await control.ledger()
        assert old.ended_at == START + timedelta(seconds=12)
        assert old.end_reason == "the server was killed"
        await control.until(lambda: control.ready(control.clusters.get(control.account, SMALL)))
        new = [life for life in await control.ledger() if life.id != old.id]
        assert [life.ended_at for life in new] == [None]


async def test_what_another_server_runs_is_left_alone(make_control: MakeControl) -> None:
    async with make_control(server_id="srv_theirs") as theirs:
        await theirs.up(min=1)
        await theirs.journal.flush()
        async with make_control(clock=theirs.clock, server_id="srv_ours") as ours:
            (life,) = await ours.ledger()
            assert (life.server_id, life.ended_at) == ("srv_theirs", None)
            await ours.until(lambda: ours.ready(ours.clusters.get(ours.account, SMALL)))
            assert {life.server_id for life in await ours.ledger()} == {"srv_theirs", "srv_ours"}
            await ours.kill()
        async with make_control(clock=theirs.clock, server_id="srv_ours") as again:
            ended = {life.server_id: life.end_reason for life in await again.ledger()}
            assert ended == {"srv_theirs": None, "srv_ours": "the server was killed"}


@pytest.mark.parametrize(("node", "ends"), [("fake", True), ("elsewhere", False)])
async def test_a_process_left_over_on_this_node_is_ended(make_control: MakeControl, node: str, ends: bool) -> None:
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        async with make_control() as control:
            life = Instance(
                "in_1", "cl_1", control.account, SMALL, node, 1, START, START,
                pid=process.pid, pid_started=start_ticks(process.pid),
            )  # fmt: skip
            control.store.instances.open(life)
            await control.kill()
        async with make_control() as control:
            assert [life.ended_at for life in await control.ledger()] == [START]
            if ends:
                assert process.wait(120) != 0
            else:
                assert process.poll() is None
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(120)


async def test_the_loop_turns_by_itself_whenever_something_changes(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.reconciler.start()
        managed = await control.put()
        request = await control.ask()
        assert (await request.task).replica_id in control.ready(managed)
        control.routes.release(managed.route, await request.task)
        control.clock.advance(1801)
        control.changed.set()
        await control.clusters.delete(control.account, SMALL)
        assert managed.replicas == {}


async def test_what_keeps_a_cluster_from_running_is_told_in_the_words_of_those_who_read_it(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        managed = await control.put()
        records = Records(
            control.journal,
            control.store,
            control.clock,
            "server",
            describe=lambda error: f"{error.message} {error.data['cause']}",
        )
        records.problem(managed.cluster, "gave up", NoCapacity("It needs 3 GB.", cause="machine"))
        assert (await control.events())[-1] == "It needs 3 GB. machine"
