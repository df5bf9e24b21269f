"""What is written down, and what the next server makes of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from modelyard.control.records import Records
from modelyard.errors import ClusterOff, NoCapacity
from modelyard.records.instances import Instance
from modelyard.worker.memory import start_ticks
from tests.clock import START
from tests.control.yard import SMALL, THIRD, TWIN, MakeYard


async def test_a_life_is_opened_became_ready_and_ended_once_each(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_boots = True
        supervised = await yard.put()
        yard.step()
        yard.clock.advance(3)
        yard.engine.release()
        await yard.until(lambda: yard.ready(supervised))
        yard.clock.advance(4)
        await yard.patch(status="off")
        await yard.until(lambda: not supervised.replicas)
        (life,) = await yard.ledger()
        assert (life.account_id, life.model_id, life.cluster_id) == (yard.account, SMALL, supervised.cluster.id)
        assert (life.node, life.id) == ("fake", yard.engine.launched[0].replica_id)
        assert life.created_at == START
        assert life.ready_at == START + timedelta(seconds=3)
        assert life.ended_at == START + timedelta(seconds=7)
        assert life.end_reason == "no longer needed"
        card = await yard.catalog.get(SMALL)
        assert life.memory_bytes == card.memory_bytes
        words = await yard.events()
        assert [sum(said in line for line in words) for said in ("starts,", "is ready after 3.00 s", "stopped:")] == [
            1,
            1,
            1,
        ]


async def test_a_replica_that_never_started_leaves_no_life(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=1) as yard:
        await yard.put()
        await yard.settle()
        assert await yard.ledger() == []


async def test_lives_are_confirmed_every_ten_seconds(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(min=1)
        for _ in range(25):
            yard.step(after_s=1)
        (life,) = await yard.ledger()
        assert life.heartbeat_at == START + timedelta(seconds=20)
        assert yard.ready(supervised)


async def test_inferences_are_counted_in_the_store(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.up()
        for _ in range(3):
            await (await yard.ask()).done()
        yard.step(after_s=1)
        await yard.journal.flush()
        assert yard.store.clusters.list()[0].inferences == 0
        yard.step(after_s=1)
        await yard.journal.flush()
        (stored,) = yard.store.clusters.list()
        assert (stored.inferences, stored.last_inference_at) == (3, START + timedelta(seconds=2))
        yard.step(after_s=10)
        await yard.journal.flush()
        assert yard.store.clusters.list()[0].inferences == 3


async def test_a_close_ends_every_life_and_refuses_who_waits(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.up(SMALL)
        yard.engine.hold_boots = True
        await yard.put(TWIN)
        waiting = await yard.ask(TWIN)
        await (await yard.ask(SMALL)).done()
        yard.step()
        await yard.reconciler.close()
        with pytest.raises(ClusterOff, match="shutting down"):
            await waiting.task
        assert [life.end_reason for life in await yard.ledger()] == ["the server was stopped"] * 2
        stored = {cluster.model_id: cluster.inferences for cluster in yard.store.clusters.list()}
        assert stored == {SMALL: 1, TWIN: 0}, "desired state stays"


async def test_a_restart_brings_back_what_was_in_use_and_nothing_else(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.up(TWIN, timeout=100)
        await yard.put(THIRD, min=1, desired=2, max=2, timeout=100)
        await yard.settle()
        yard.step(after_s=150)
        await yard.up(SMALL, desired=2, max=2, timeout=100)
        off = yard.clock
    async with make_yard(clock=off) as yard:
        off.advance(40)
        await yard.settle()
        running = {spec.model_id for spec in yard.engine.launched}
        assert running == {SMALL, THIRD}
        assert len(yard.clusters.list(yard.account)) == 3
        assert len(yard.ready(yard.clusters.get(yard.account, SMALL))) == 2
        assert len(yard.ready(yard.clusters.get(yard.account, THIRD))) == 1
        await (await yard.ask(TWIN)).done()


async def test_a_cluster_that_was_off_stays_off_after_a_restart(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.put(min=1)
        await yard.patch(status="off")
    async with make_yard() as yard:
        await yard.settle()
        assert yard.engine.launched == []
        with pytest.raises(ClusterOff):
            await (await yard.ask()).task


@pytest.mark.parametrize("node", ["fake", "another name for the same container"])
async def test_after_a_kill_lives_end_where_they_were_last_confirmed(make_yard: MakeYard, node: str) -> None:
    async with make_yard() as yard:
        await yard.up(min=1)
        yard.step(after_s=12)
        yard.step(after_s=7)
        await yard.kill()
        clock = yard.clock
    clock.advance(1000)
    async with make_yard(clock=clock, node=node) as yard:
        (old,) = await yard.ledger()
        assert old.ended_at == START + timedelta(seconds=12)
        assert old.end_reason == "the server was killed"
        await yard.until(lambda: yard.ready(yard.clusters.get(yard.account, SMALL)))
        new = [life for life in await yard.ledger() if life.id != old.id]
        assert [life.ended_at for life in new] == [None]


async def test_what_another_server_runs_is_left_alone(make_yard: MakeYard) -> None:
    async with make_yard(server_id="srv_theirs") as theirs:
        await theirs.up(min=1)
        await theirs.journal.flush()
        async with make_yard(clock=theirs.clock, server_id="srv_ours") as ours:
            (life,) = await ours.ledger()
            assert (life.server_id, life.ended_at) == ("srv_theirs", None)
            await ours.until(lambda: ours.ready(ours.clusters.get(ours.account, SMALL)))
            assert {life.server_id for life in await ours.ledger()} == {"srv_theirs", "srv_ours"}
            await ours.kill()
        async with make_yard(clock=theirs.clock, server_id="srv_ours") as again:
            ended = {life.server_id: life.end_reason for life in await again.ledger()}
            assert ended == {"srv_theirs": None, "srv_ours": "the server was killed"}


@pytest.mark.parametrize(("node", "ends"), [("fake", True), ("elsewhere", False)])
async def test_a_process_left_over_on_this_node_is_ended(make_yard: MakeYard, node: str, ends: bool) -> None:
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        async with make_yard() as yard:
            life = Instance(
                "in_1", "cl_1", yard.account, SMALL, node, 1, START, START,
                pid=process.pid, pid_started=start_ticks(process.pid),
            )  # fmt: skip
            yard.store.instances.open(life)
            await yard.kill()
        async with make_yard() as yard:
            assert [life.ended_at for life in await yard.ledger()] == [START]
            if ends:
                assert process.wait(10) != 0
            else:
                assert process.poll() is None
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


async def test_the_loop_turns_by_itself_whenever_something_changes(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.reconciler.start()
        supervised = await yard.put()
        request = await yard.ask()
        assert (await request.task).replica_id in yard.ready(supervised)
        yard.routes.release(supervised.route, await request.task)
        yard.clock.advance(1801)
        yard.changed.set()
        await yard.clusters.delete(yard.account, SMALL)
        assert supervised.replicas == {}


async def test_what_keeps_a_cluster_from_running_is_told_in_the_words_of_those_who_read_it(
    make_yard: MakeYard,
) -> None:
    async with make_yard() as yard:
        supervised = await yard.put()
        records = Records(
            yard.journal,
            yard.store,
            yard.clock,
            "server",
            describe=lambda error: f"{error.message} {error.data['cause']}",
        )
        records.problem(supervised.cluster, "gave up", NoCapacity("It needs 3 GB.", cause="machine"))
        assert (await yard.events())[-1] == "It needs 3 GB. machine"
