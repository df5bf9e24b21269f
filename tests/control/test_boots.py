"""Boots that fail, replicas that die, and what requests are told."""

from __future__ import annotations

import pytest

from modelyard.control.policy import Policy
from modelyard.control.states import ClusterStatus as Word
from modelyard.engine.base import Place
from modelyard.errors import BootFailed, ModelRefused, NoCapacity, UnknownModel
from modelyard.records.replicas import ReplicaSpec
from tests.catalog.models import model, write
from tests.control.yard import BIG, SMALL, SMALL_BYTES, TWIN, MakeYard, Yard
from tests.engine.fake import FakeEngine


async def fail_boots(yard: Yard, count: int, reason: str = "out of memory") -> None:
    """That many boots in a row end with `reason`; the clock jumps over the pauses between them."""
    for _ in range(count):
        yard.engine.fail_next(reason)
    before = len(yard.engine.launched)
    while len(yard.engine.launched) < before + count:
        await yard.settle()
        yard.step(after_s=0.25)
    await yard.settle()


async def test_a_crashed_replica_is_replaced_at_once(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up()
        (dead,) = yard.ready(supervised)
        yard.engine.die(dead, "killed by SIGSEGV")
        yard.step()
        assert dead not in supervised.replicas
        await yard.until(lambda: yard.ready(supervised))
        assert f"{dead} failed: killed by SIGSEGV" in await yard.events()


async def test_requests_wait_through_a_crash(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up()
        (dead,) = yard.ready(supervised)
        held = [await yard.ask() for _ in range(8)]
        waiting = await yard.ask()
        yard.engine.die(dead)
        assert held[0].target is not None
        yard.routes.lose(supervised.route, held[0].target)
        for request in held:
            request.answer()
        assert (await waiting.served()).replica_id != dead
        waiting.answer()
        assert supervised.route.load().total == 0


async def test_a_boot_that_fails_is_tried_again_after_a_growing_pause(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.fail_next("exited with code 1")
        yard.engine.fail_next("exited with code 1")
        supervised = await yard.put()
        launches = []
        for _ in range(20):
            await yard.settle()
            launches.append(len(yard.engine.launched))
            yard.step(after_s=0.1)
        assert launches[:5] == [1] * 5
        assert launches[5:15] == [2] * 10
        assert launches[15:] == [3] * 5
        assert yard.ready(supervised)


async def test_a_model_that_never_boots_is_given_up_with_its_last_words(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.put()
        waiting = await yard.ask()
        await fail_boots(yard, 3)
        said = "tiny/small did not start (3 tries): out of memory"
        with pytest.raises(BootFailed) as failure:
            await waiting.task
        assert failure.value.message == said
        report = yard.report(supervised)
        assert (report.status, report.error, report.instances) == (Word.FAILED, said, 0)
        assert (await yard.events()).count(said) == 1
        with pytest.raises(BootFailed):
            await (await yard.ask()).task
        yard.step(after_s=600)
        await yard.settle()
        assert len(yard.engine.launched) == 3, "nobody asked again"


async def test_a_cluster_that_was_given_up_is_tried_again_for_a_request_after_a_while(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.put()
        await fail_boots(yard, 3)
        yard.clock.advance(29)
        with pytest.raises(BootFailed):
            await (await yard.ask()).task
        yard.clock.advance(1)
        await (await yard.ask()).done()
        assert yard.report(supervised).status is Word.RUNNING
        assert yard.report(supervised).error is None


async def test_a_put_tries_again_at_once(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.put()
        await fail_boots(yard, 3)
        await yard.put()
        assert yard.report(supervised).status is Word.QUEUED
        await (await yard.ask()).done()


async def test_a_new_timeout_does_not_hide_a_failure(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.put()
        await fail_boots(yard, 3)
        await yard.patch(timeout=10)
        assert yard.report(supervised).status is Word.FAILED


async def test_a_model_that_its_worker_refuses_is_given_up_at_once(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.refuse_next("unsupported architecture Foo")
        supervised = await yard.put()
        waiting = await yard.ask()
        await yard.until(lambda: supervised.failure)
        with pytest.raises(BootFailed, match=r"tiny/small did not start: unsupported architecture Foo"):
            await waiting.task
        assert len(yard.engine.launched) == 1


async def test_a_replica_that_dies_again_and_again_uses_up_its_budget(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up()
        for crash in range(6):
            await yard.until(lambda: yard.ready(supervised))
            yard.engine.die(yard.ready(supervised)[0], f"crash {crash}")
            yard.step(after_s=1)
        await yard.settle()
        assert yard.report(supervised).error == "tiny/small crashed 6 times within 10 minutes, last: crash 5"
        assert len(yard.engine.launched) == 6


async def test_a_replica_that_dies_while_it_drains_is_no_failed_boot(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(desired=2, max=2)
        requests = await yard.requests(2)
        await yard.patch(desired=1, max=1)
        yard.step()
        (leaving,) = supervised.route.leaving
        yard.engine.die(leaving)
        yard.step()
        assert (supervised.failures.boots, supervised.failure) == (0, None)
        for request in requests:
            request.answer()


async def test_a_cluster_that_works_survives_an_additional_replica_that_does_not_boot(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(max=3)
        for refusal in (yard.engine.refuse_next, yard.engine.fail_next, yard.engine.fail_next, yard.engine.fail_next):
            refusal("no more threads")
        await yard.patch(desired=2)
        await yard.settle()
        assert yard.report(supervised).status is Word.SCALING
        assert len(yard.engine.launched) == 2
        await (await yard.ask()).done()
        yard.step(after_s=29)
        assert len(yard.engine.launched) == 2, "not sooner than a failure is kept"
        for _ in range(200):
            yard.step(after_s=1)
            await yard.settle()
        assert len(yard.ready(supervised)) == 2
        assert "did not start" in " ".join(await yard.events())
        assert yard.report(supervised).error is None


async def test_a_boot_that_takes_too_long_counts_as_failed(make_yard: MakeYard) -> None:
    async with make_yard(policy=Policy(boot_s=60)) as yard:
        yard.engine.hold_boots = True
        supervised = await yard.put()
        for boot in range(3):
            await yard.until(lambda boot=boot: len(yard.engine.launched) == boot + 1)
            yard.step(after_s=59)
            assert yard.states(supervised) == ["starting"]
            yard.step(after_s=1.1)
            yard.step()
            await yard.settle()
            yard.step(after_s=1)
        assert yard.report(supervised).error == "tiny/small did not start (3 tries): not ready after 60 s"
        assert len(yard.engine.stopped) == 3


async def test_a_stop_that_takes_its_time_still_counts_as_a_failed_boot(make_yard: MakeYard) -> None:
    async with make_yard(policy=Policy(boot_s=60)) as yard:
        yard.engine.hold_boots = yard.engine.hold_stops = True
        supervised = await yard.put()
        yard.step()
        replica = yard.only(supervised)
        yard.step(after_s=61)
        for _ in range(3):  # planned again while it is still stopping
            yard.step(after_s=1)
        assert replica.state == "draining"
        yard.engine.die(replica.id)
        yard.step()
        assert supervised.failures.boots == 1


async def test_a_replica_may_end_before_anything_was_seen_of_it(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_boots = True
        supervised = await yard.put()
        yard.step()
        yard.engine.die(yard.only(supervised).id, "no such interpreter")
        yard.step()
        assert (supervised.replicas, supervised.failures.boots) == ({}, 1)


async def test_a_replica_that_dies_after_its_cluster_was_switched_off_fails_nothing(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up()
        await yard.patch(status="off")
        yard.engine.die(yard.only(supervised).id)
        yard.step()
        assert (yard.report(supervised).status, supervised.failures.deaths) == (Word.STOPPED, [])


class Clumsy(FakeEngine):
    """Raises for one model, as a bug would."""

    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        if spec.model_id == TWIN:
            raise RuntimeError("a bug")
        super().launch(spec, place)


async def test_a_bug_met_in_one_cluster_leaves_the_others_alone(
    make_yard: MakeYard, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_yard(make_engine=Clumsy) as yard:
        poor = await yard.put(TWIN)
        waiting = await yard.ask(TWIN)
        supervised = await yard.up(SMALL)
        assert yard.report(supervised).status is Word.RUNNING
        assert "an error in the supervision of the cluster of tiny/twin" in caplog.text
        for _ in range(10):
            await yard.settle()
            yard.step(after_s=1)
        assert yard.report(poor).status is Word.FAILED
        with pytest.raises(BootFailed, match="the engine does not know it"):
            await waiting.task
        ends = [life.end_reason for life in await yard.ledger() if life.model_id == TWIN]
        assert ends == ["the engine does not know it"] * 3


async def test_a_model_larger_than_the_machine_is_told_so_once(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=SMALL_BYTES) as yard:
        supervised = await yard.put(BIG, desired=2, max=2)
        waiting = await yard.ask(BIG)
        await yard.until(lambda: supervised.failure)
        with pytest.raises(NoCapacity, match=r"tiny/big needs 0.1 GB, but replicas on this machine may use 92 MB"):
            await waiting.task
        assert sum("needs" in event for event in await yard.events(BIG)) == 1
        assert supervised.replicas == {}
        assert yard.engine.launched == []


async def test_a_model_whose_files_go_missing_is_given_up_and_comes_back_with_them(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.models = yard.folder / "own"
        yard.catalog._folders.__init__([yard.models])  # type: ignore[misc]
        folder = write(yard.models / "org" / "name", model())
        supervised = await yard.put("org/name", timeout=10)
        await yard.until(lambda: yard.ready(supervised))
        yard.step(after_s=11)
        await yard.settle()
        for file in folder.iterdir():
            file.unlink()
        yard.preparations.forget("org/name")
        waiting = await yard.ask("org/name")
        await yard.until(lambda: supervised.failure)
        with pytest.raises(UnknownModel, match="There is no model org/name"):
            await waiting.task
        write(folder, model())
        await yard.put("org/name")
        await yard.until(lambda: yard.ready(supervised))


async def test_a_refused_model_gets_no_cluster(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        folder = yard.models / "tiny" / "pickled"
        files = model(pytorch_model__bin=b"\x80\x04.")
        write(folder, {name: content for name, content in files.items() if name != "model.safetensors"})
        with pytest.raises(ModelRefused):
            await yard.put("tiny/pickled")
        with pytest.raises(UnknownModel, match="Did you mean tiny/small"):
            await yard.put("tiny/smal")
        assert yard.store.clusters.list() == []
