"""A job from its request to what the catalogue has learnt, in replicas of the fake engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.catalog.made_files import no_quota
from modelyard.catalog.memory import plan_device_bytes
from modelyard.engine.base import Device, Node
from modelyard.errors import ModelRefused, NotFound
from modelyard.jobs.benchmark import JobDeadlines
from modelyard.jobs.forms import forms_here
from modelyard.jobs.measurements import Measurements
from modelyard.jobs.queue import Jobs
from modelyard.records.jobs import JobState
from modelyard.records.models import ModelCard
from modelyard.records.variants import VariantKind
from modelyard.units import GIB
from tests.catalog.models import model, write
from tests.control.control_plane import SMALL, TWIN, ControlPlane, MakeControl

DEVICE_BYTES = 3 * GIB
LABELS, OTHER, THIRD = "own/labels", "own/labels.onnx", "own/labels.openvino"
DEADLINES = JobDeadlines(benchmark_s=0.3, settle_s=0.1)


@asynccontextmanager
async def running_jobs(
    control: ControlPlane, measurements: Measurements, forms: Sequence[VariantKind] = ()
) -> AsyncIterator[Jobs]:
    """The jobs of a control plane, at work."""
    jobs = Jobs(
        control.store,
        control.catalog,
        measurements,
        control.plane,
        control.routes,
        control.journal,
        control.clock,
        owner_id=control.other_account,
        operator_id=control.other_account,
        room_for=no_quota,
        server_id=control.server_id,
        data_dir=control.folder,
        deadlines=DEADLINES,
        forms=forms,
    )
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.close()


async def measure(control: ControlPlane, model_id: str = SMALL, forms: Sequence[VariantKind] = ()) -> Measurements:
    """What is known once the model's job is over."""
    measurements = Measurements({})
    async with running_jobs(control, measurements, forms) as jobs:
        await jobs.ask(control.account, model_id)

        def over() -> bool:
            job = control.store.jobs.find(model_id)
            assert job is not None
            assert job.state is not JobState.FAILED, job
            return job.state is JobState.DONE

        await control.until(over)
    return measurements


async def test_memory_held_on_a_device_is_recorded_and_the_next_replica_is_placed_on_one(
    make_control: MakeControl,
) -> None:
    nodes = [Node("one", 8 * GIB, (Device("cuda:0", 16 * GIB),))]
    async with make_control(nodes=nodes) as control:
        control.engine.replica_device_bytes = DEVICE_BYTES
        known = (await measure(control)).of([SMALL])[SMALL]
        assert known.device_bytes == DEVICE_BYTES
        assert replace(control.store.models.measured()[SMALL], weight_bytes=known.weight_bytes) == known
        listing = control.store.models.find(SMALL)
        assert listing is not None
        assert listing.facts["benchmark"]["peak_device_bytes"] == DEVICE_BYTES
        planned = plan_device_bytes((await control.catalog.get(SMALL)).inspection)
        assert {(each.need_device_bytes, each.memory_limit_bytes) for each in control.engine.launched} == {
            (2 * planned, None)
        }, "what measures a model is given more than is planned, and no limit that a driver's reservations would meet"
        control.measured[SMALL] = known
        managed = await control.up()
        replica = control.only(managed)
        assert replica.place is not None
        assert (replica.place.devices, replica.reserved_device_bytes) == (("cuda:0",), DEVICE_BYTES)


async def test_a_job_that_ends_while_it_is_asked_for_again_is_not_begun_anew(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_control() as control, running_jobs(control, Measurements({})) as jobs:

        def is_over() -> bool:
            job = control.store.jobs.find(SMALL)
            return job is not None and job.over

        get_card = control.catalog.get

        async def get_card_of_before(model_id: str, account_id: str | None = None) -> ModelCard:
            card = await get_card(model_id, account_id)
            if account_id is not None:  # who asks, and not the job itself
                await control.until(is_over)
            return card

        _, first = await jobs.ask(control.account, SMALL)
        monkeypatch.setattr(control.catalog, "get", get_card_of_before)
        job, again = await jobs.ask(control.account, SMALL)

        assert (first, again) == (True, False)
        assert job.state is JobState.DONE


async def test_a_model_that_uses_no_device_any_more_is_recorded_without_one(make_control: MakeControl) -> None:
    async with make_control() as control:
        before = control.clock.now()
        control.store.models.measure(SMALL, memory_bytes=GIB, measured_at=before, device_bytes=DEVICE_BYTES)
        assert (await measure(control)).of([SMALL])[SMALL].device_bytes == 0
        assert control.store.models.measured()[SMALL].device_bytes == 0


async def test_a_job_that_is_cancelled_ends_waiting_or_under_way_and_others_go_on(make_control: MakeControl) -> None:
    async with make_control() as control, running_jobs(control, Measurements({})) as jobs:

        def state(model_id: str) -> JobState | None:
            job = control.store.jobs.find(model_id)
            return None if job is None else job.state

        control.engine.hold_boots = True
        for account in (control.account, control.other_account):
            await jobs.ask(account, SMALL)
        await jobs.ask(control.account, TWIN)
        await control.until(lambda: len(control.engine.sightings()) == 1)
        await jobs.cancel(TWIN)
        waited = control.store.jobs.find(TWIN, control.account)
        assert waited is not None
        assert (waited.state, waited.attempts) == (JobState.FAILED, 0)
        assert "Cancelled by the operator" in waited.message
        await jobs.cancel(SMALL)
        for account in (control.account, control.other_account):
            job = control.store.jobs.find(SMALL, account)
            assert job is not None
            assert job.message == waited.message
        await control.until(lambda: not control.engine.sightings())  # its worker is ended
        assert state(SMALL) is JobState.FAILED
        with pytest.raises(NotFound, match="No job of tiny/small waits or is under way"):
            await jobs.cancel(SMALL)
        control.engine.hold_boots = False
        await jobs.ask(control.account, TWIN, again=True)
        await control.until(lambda: state(TWIN) is JobState.DONE)
        assert state(SMALL) is JobState.FAILED


async def test_other_forms_of_a_classifier_are_made_measured_and_compared_in_turns_with_the_best_so_far(
    tmp_path: Path, database: Path, openvino: None
) -> None:
    """Models and what is made of them lie in one folder here. The fake says what every form holds: the same."""
    write(tmp_path / "variants" / LABELS, model("BertForSequenceClassification", "bert"))
    nodes = [Node("one", 8 * GIB, cores=2)]
    async with ControlPlane(tmp_path, tmp_path / "variants", database, nodes=nodes) as control:
        known = (await measure(control, LABELS, forms_here())).of([LABELS, OTHER, THIRD])
        booted = [spec.runtime for spec in control.engine.launched]
        form = known[LABELS].form
        listings = [control.store.models.find(each) for each in (LABELS, OTHER, THIRD)]
    assert form is not None
    first, second, *_ = form.why.split("; ")
    for words in ("× as fast with the smallest requests", "1.00 × the memory", "answers equal to"):
        assert words in first
        assert words in second
    # What takes as long as the other may be told faster on a busy machine.
    best = "onnx" if second.startswith("openvino against onnx: ") else "transformers"
    assert first.startswith("onnx: ")
    assert second.startswith("openvino against onnx: " if best == "onnx" else "openvino: ")
    served = form.variant or "transformers"
    assert served in (best, "openvino")
    together = [["transformers", "onnx"], ["openvino"] * 2, [best, "openvino"], [served] * 2]
    assert [booted[at : at + 2] for at in range(0, len(booted), 2)] == [["transformers"] * 2, ["onnx"] * 2, *together]
    assert all(each is not None and each.facts["benchmark"]["requests_per_s"] > 0 for each in listings)
    assert [each.variant_of for each in listings if each] == [None, LABELS, LABELS]
    assert known[OTHER].memory_bytes == known[THIRD].memory_bytes == known[LABELS].memory_bytes


async def test_a_variant_that_nothing_here_can_hold_is_refused_with_what_to_install(
    make_control: MakeControl, no_openvino: None
) -> None:
    assert "openvino" not in forms_here()
    async with make_control() as control, running_jobs(control, Measurements({})) as jobs:
        with pytest.raises(
            ModelRefused, match=r"OpenVINO, which is not installed.*pip install 'modelyard\[openvino\]'"
        ):
            await jobs.ask(control.account, f"{SMALL}.openvino")
        assert control.store.jobs.find(f"{SMALL}.openvino") is None
