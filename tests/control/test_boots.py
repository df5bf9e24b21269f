"""Boots that fail, replicas that die, and what requests are told."""

from __future__ import annotations

import pytest
from msgspec import structs

from modelyard.catalog.forms import mark_of
from modelyard.control.policy import Policy
from modelyard.control.states import ClusterStatus as Word
from modelyard.engine.base import Place
from modelyard.errors import BootFailed, ModelRefused, NoCapacity, UnknownModel
from modelyard.records.models import Form, Measurement
from modelyard.records.replicas import ReplicaSpec
from tests.catalog.models import model, write
from tests.catalog.test_variants import MANIFEST
from tests.control.control_plane import BIG, MIB, SMALL, SMALL_BYTES, TWIN, ControlPlane, MakeControl
from tests.engine.fake import FakeEngine


async def fail_boots(control: ControlPlane, count: int, reason: str = "out of memory") -> None:
    """That many boots in a row end with `reason`; the clock jumps over the pauses between them."""
    for _ in range(count):
        control.engine.fail_next(reason)
    before = len(control.engine.launched)
    while len(control.engine.launched) < before + count:
        await control.settle()
        control.step(after_s=0.25)
    await control.settle()


async def test_a_crashed_replica_is_replaced_at_once(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        (dead,) = control.ready(managed)
        control.engine.die(dead, "killed by SIGSEGV")
        control.step()
        assert dead not in managed.replicas
        await control.until(lambda: control.ready(managed))
        assert f"{dead} failed: killed by SIGSEGV" in await control.events()


async def test_requests_wait_through_a_crash(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        (dead,) = control.ready(managed)
        held = [await control.ask() for _ in range(8)]
        waiting = await control.ask()
        control.engine.die(dead)
        assert held[0].target is not None
        control.routes.lose(managed.route, held[0].target)
        for request in held:
            request.answer()
        assert (await waiting.served()).replica_id != dead
        waiting.answer()
        assert managed.route.load().total == 0


async def test_a_boot_that_fails_is_tried_again_after_a_growing_pause(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.fail_next("exited with code 1")
        control.engine.fail_next("exited with code 1")
        managed = await control.put()
        launches = []
        for _ in range(20):
            await control.settle()
            launches.append(len(control.engine.launched))
            control.step(after_s=0.1)
        assert launches[:5] == [1] * 5
        assert launches[5:15] == [2] * 10
        assert launches[15:] == [3] * 5
        assert control.ready(managed)


async def test_a_model_that_never_boots_is_given_up_with_its_last_words(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.put()
        waiting = await control.ask()
        await fail_boots(control, 3)
        said = "tiny/small did not start (3 tries): out of memory"
        with pytest.raises(BootFailed) as failure:
            await waiting.task
        assert failure.value.message == said
        report = control.report(managed)
        assert (report.status, report.error, report.instances) == (Word.FAILED, said, 0)
        assert (await control.events()).count(said) == 1
        with pytest.raises(BootFailed):
            await (await control.ask()).task
        control.step(after_s=600)
        await control.settle()
        assert len(control.engine.launched) == 3, "nobody asked again"


async def test_a_cluster_that_was_given_up_is_tried_again_for_a_request_after_a_while(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        managed = await control.put()
        await fail_boots(control, 3)
        control.clock.advance(29)
        with pytest.raises(BootFailed):
            await (await control.ask()).task
        control.clock.advance(1)
        await (await control.ask()).done()
        assert control.report(managed).status is Word.RUNNING
        assert control.report(managed).error is None


async def test_a_put_tries_again_at_once(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.put()
        await fail_boots(control, 3)
        await control.put()
        assert control.report(managed).status is Word.QUEUED
        await (await control.ask()).done()


async def test_a_new_timeout_does_not_hide_a_failure(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.put()
        await fail_boots(control, 3)
        await control.patch(timeout=10)
        assert control.report(managed).status is Word.FAILED


async def test_a_model_that_its_worker_refuses_is_given_up_at_once(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.refuse_next("unsupported architecture Foo")
        managed = await control.put()
        waiting = await control.ask()
        await control.until(lambda: managed.failure)
        with pytest.raises(BootFailed, match=r"tiny/small did not start: unsupported architecture Foo"):
            await waiting.task
        assert len(control.engine.launched) == 1


async def test_a_replica_that_dies_again_and_again_uses_up_its_budget(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        for crash in range(6):
            await control.until(lambda: control.ready(managed))
            control.engine.die(control.ready(managed)[0], f"crash {crash}")
            control.step(after_s=1)
        await control.settle()
        assert control.report(managed).error == "tiny/small crashed 6 times within 10 minutes, last: crash 5"
        assert len(control.engine.launched) == 6


async def test_the_deaths_of_what_had_started_replicas_are_no_crashes_of_theirs(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        for _ in range(10):
            await control.until(lambda: control.ready(managed))
            control.engine.die(control.ready(managed)[0], "the nursery was killed by SIGKILL", host_died=True)
            control.step(after_s=1)
        await control.until(lambda: control.ready(managed))
        assert control.report(managed).error is None
        assert len(control.engine.launched) == 11


async def test_a_replica_that_dies_while_it_drains_is_no_failed_boot(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(desired=2, max=2)
        requests = await control.requests(2)
        await control.patch(desired=1, max=1)
        control.step()
        (leaving,) = managed.route.leaving
        control.engine.die(leaving)
        control.step()
        assert (managed.failures.boots, managed.failure) == (0, None)
        for request in requests:
            request.answer()


async def test_a_cluster_that_works_survives_an_additional_replica_that_does_not_boot(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        managed = await control.up(max=3)
        for refusal in (
            control.engine.refuse_next,
            control.engine.fail_next,
            control.engine.fail_next,
            control.engine.fail_next,
        ):
            refusal("no more threads")
        await control.patch(desired=2)
        await control.settle()
        assert control.report(managed).status is Word.SCALING
        assert len(control.engine.launched) == 2
        await (await control.ask()).done()
        control.step(after_s=29)
        assert len(control.engine.launched) == 2, "not sooner than a failure is kept"
        for _ in range(200):
            control.step(after_s=1)
            await control.settle()
        assert len(control.ready(managed)) == 2
        assert "did not start" in " ".join(await control.events())
        assert control.report(managed).error is None


async def test_a_boot_that_takes_too_long_counts_as_failed(make_control: MakeControl) -> None:
    async with make_control(policy=Policy(boot_s=60)) as control:
        control.engine.hold_boots = True
        managed = await control.put()
        for boot in range(3):
            await control.until(lambda boot=boot: len(control.engine.launched) == boot + 1)
            control.step(after_s=59)
            assert control.states(managed) == ["starting"]
            control.step(after_s=1.1)
            control.step()
            await control.settle()
            control.step(after_s=1)
        assert control.report(managed).error == "tiny/small did not start (3 tries): not ready after 60 s"
        assert len(control.engine.stopped) == 3


async def test_a_stop_that_takes_its_time_still_counts_as_a_failed_boot(make_control: MakeControl) -> None:
    async with make_control(policy=Policy(boot_s=60)) as control:
        control.engine.hold_boots = control.engine.hold_stops = True
        managed = await control.put()
        control.step()
        replica = control.only(managed)
        control.step(after_s=61)
        for _ in range(3):  # planned again while it is still stopping
            control.step(after_s=1)
        assert replica.state == "draining"
        control.engine.die(replica.id)
        control.step()
        assert managed.failures.boots == 1


async def test_a_replica_may_end_before_anything_was_seen_of_it(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_boots = True
        managed = await control.put()
        control.step()
        control.engine.die(control.only(managed).id, "no such interpreter")
        control.step()
        assert (managed.replicas, managed.failures.boots) == ({}, 1)


async def test_a_replica_that_dies_after_its_cluster_was_switched_off_fails_nothing(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        await control.patch(status="off")
        control.engine.die(control.only(managed).id)
        control.step()
        assert (control.report(managed).status, managed.failures.deaths) == (Word.STOPPED, [])


class Clumsy(FakeEngine):
    """Raises for one model, as a bug would."""

    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        if spec.model_id == TWIN:
            raise RuntimeError("a bug")
        super().launch(spec, place)


async def test_a_bug_met_in_one_cluster_leaves_the_others_alone(
    make_control: MakeControl, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_control(make_engine=Clumsy) as control:
        poor = await control.put(TWIN)
        waiting = await control.ask(TWIN)
        managed = await control.up(SMALL)
        assert control.report(managed).status is Word.RUNNING
        assert "an error in the supervision of the cluster of tiny/twin" in caplog.text
        for _ in range(10):
            await control.settle()
            control.step(after_s=1)
        assert control.report(poor).status is Word.FAILED
        with pytest.raises(BootFailed, match="the engine does not know it"):
            await waiting.task
        ends = [life.end_reason for life in await control.ledger() if life.model_id == TWIN]
        assert ends == ["the engine does not know it"] * 3


async def test_a_model_larger_than_the_machine_is_told_so_once(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=SMALL_BYTES) as control:
        managed = await control.put(BIG, desired=2, max=2)
        waiting = await control.ask(BIG)
        await control.until(lambda: managed.failure)
        with pytest.raises(NoCapacity, match=r"tiny/big needs 130 MB, but replicas on this machine may use 92 MB"):
            await waiting.task
        assert sum("needs" in event for event in await control.events(BIG)) == 1
        assert managed.replicas == {}
        assert control.engine.launched == []


async def test_a_model_whose_files_go_missing_is_given_up_and_comes_back_with_them(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.models = control.folder / "own"
        control.catalog._folders.__init__([control.models])  # type: ignore[misc]
        folder = write(control.models / "org" / "name", model())
        managed = await control.put("org/name", timeout=10)
        await control.until(lambda: control.ready(managed))
        control.step(after_s=11)
        await control.settle()
        for file in folder.iterdir():
            file.unlink()
        control.preparations.forget("org/name")
        waiting = await control.ask("org/name")
        await control.until(lambda: managed.failure)
        with pytest.raises(UnknownModel, match="There is no model org/name"):
            await waiting.task
        write(folder, model())
        await control.put("org/name")
        await control.until(lambda: control.ready(managed))


async def test_a_refused_model_gets_no_cluster(make_control: MakeControl) -> None:
    async with make_control() as control:
        folder = control.models / "tiny" / "pickled"
        files = model(pytorch_model__bin=b"\x80\x04.")
        write(folder, {name: content for name, content in files.items() if name != "model.safetensors"})
        with pytest.raises(ModelRefused):
            await control.put("tiny/pickled")
        with pytest.raises(UnknownModel, match="Did you mean tiny/small"):
            await control.put("tiny/smal")
        assert control.store.clusters.list() == []


async def test_what_a_live_cluster_loads_does_not_change_and_the_next_one_loads_the_faster_form(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        managed = await control.up(desired=1, max=2)
        card = await control.catalog.get(SMALL)
        files = model("BertForSequenceClassification", "bert")
        folder = write(control.models / f"{SMALL}.onnx", {**files, "model.onnx": b"g", "model.onnx.data": b"w"})
        structs.replace(MANIFEST, kind="onnx", quality=(), original_mark=mark_of(card)).write(folder)
        await control.catalog.find(f"{SMALL}.onnx")
        control.measured[SMALL] = Measurement(card.memory_bytes, form=Form("onnx", "twice as fast", threads=1))
        control.measured[f"{SMALL}.onnx"] = Measurement(card.memory_bytes - MIB)

        await control.up(desired=2, max=2)
        assert [(spec.runtime, spec.most_threads) for spec in control.engine.launched] == [("transformers", None)] * 2

        await control.patch(min=0, desired=0)
        await control.until(lambda: not managed.replicas)
        await control.up(desired=1)
        spec = control.engine.launched[-1]
        assert (spec.runtime, spec.path, spec.model_id, spec.most_threads) == ("onnx", str(folder), SMALL, 1)
        assert control.only(managed).reserved_bytes == card.memory_bytes - MIB
        assert control.report(managed).memory_bytes == card.memory_bytes - MIB


async def test_each_replica_that_becomes_ready_is_told_of_once(make_control: MakeControl) -> None:
    ready: list[int] = []
    async with make_control(on_ready=lambda: ready.append(1)) as control:
        await control.up(desired=2, max=2)
        await control.settle()
        assert len(ready) == 2
