"""The work of making a model available."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class JobState(StrEnum):
    """How far a job has got."""

    QUEUED = "queued"
    DOWNLOADING = "downloading"
    INSPECTING = "inspecting"
    EXPORTING = "exporting"
    BENCHMARKING = "benchmarking"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """The work of making one model available: its files fetched, its memory and speed measured.

    `message`: what it is doing, or, when FAILED, why it failed and what to do. `attempts`: how often it was begun.
    `started_at` and `ended_at` are of the latest attempt. `account_id`: on whose turn it was begun; empty elsewhere.
    """

    model_id: str
    state: JobState
    message: str
    attempts: int
    created_at: datetime
    modified_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    account_id: str = field(default="", compare=False)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen unless somebody asks."""
        return self.state in (JobState.DONE, JobState.FAILED)


def since_asked(job: Job, asked_at: datetime) -> Job:
    """The job as an account knows it that asked for it at that moment: who asked before, and when, is not told."""
    if asked_at <= job.created_at:
        return job
    begun_before = job.started_at is not None and job.started_at < asked_at
    return replace(
        job,
        attempts=min(job.attempts, 1),
        created_at=asked_at,
        modified_at=max(job.modified_at, asked_at),
        started_at=None if begun_before else job.started_at,
        ended_at=None if job.ended_at is None else max(job.ended_at, asked_at),
    )
