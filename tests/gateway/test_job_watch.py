"""What a listener is told of jobs: each once whenever it has changed, for one look at the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from modelyard.gateway import job_watch
from modelyard.gateway.job_watch import READ_ANYWAY_S, JobWatch
from modelyard.jobs.measurements import Measurements
from modelyard.records.jobs import Job, JobState
from tests.clock import HandClock
from tests.control.control_plane import SMALL, MakeControl
from tests.gateway.test_cluster_watch import read
from tests.jobs.test_queue import running_jobs

NOW = HandClock().now()
OLDER = Job("own/older", JobState.QUEUED, "Job queued", 0, NOW, NOW)
NEWER = replace(OLDER, model_id="own/newer")


class Told:
    """Jobs in a list that stands for the store, and how often it was read."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs: Sequence[Job] = jobs
        self.changes = self.reads = 0
        self.watch = JobWatch(lambda: self.changes, self._read)

    def _read(self) -> Sequence[Job]:
        self.reads += 1
        return self.jobs

    async def look(self) -> list[tuple[str, str | None]]:
        """What it tells now: by kind, of which model."""
        return [(kind, said.get("modelId")) for kind, said in read(await self.watch.look())]


async def test_all_are_told_at_first_and_then_those_that_have_changed() -> None:
    told = Told(NEWER, OLDER)
    assert await told.look() == [("job", OLDER.model_id), ("job", NEWER.model_id), ("known", None)]
    assert await told.look() == []
    told.jobs, told.changes = [replace(OLDER, state=JobState.DOWNLOADING), NEWER], 1
    assert await told.look() == [("job", OLDER.model_id)]


async def test_the_store_is_read_when_something_has_changed_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    monkeypatch.setattr(job_watch, "monotonic", clock.monotonic)
    told = Told()
    assert await told.look() == [("known", None)]
    told.jobs = [NEWER]  # by another program
    clock.advance(READ_ANYWAY_S - 1)
    assert (await told.look(), told.reads) == ([], 1)
    clock.advance(1)
    assert (await told.look(), told.reads) == ([("job", NEWER.model_id)], 2)


async def test_a_job_is_told_from_its_request_to_its_end_without_a_look_in_vain(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_watch, "monotonic", HandClock().monotonic)  # which stands still
    async with make_control() as control, running_jobs(control, Measurements({})) as jobs:
        watch = JobWatch(lambda: control.store.jobs.changes, control.store.jobs.list)

        async def tells(status: JobState) -> None:
            while status not in [said.get("status") for _, said in read(await watch.look())]:
                control.step()
                await asyncio.sleep(0.01)

        assert read(await watch.look()) == [("known", {})]
        await jobs.ask(control.account, SMALL)
        await tells(JobState.DONE)
        control.engine.hold_boots = True
        await jobs.ask(control.account, SMALL, again=True)
        await tells(JobState.BENCHMARKING)
        await jobs.cancel(SMALL)
        await tells(JobState.FAILED)
