"""Jobs as v2 shows them: a model asked for, how far it has got, why it failed."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from modelyard.clock import iso
from modelyard.gateway.shapes.base import Answer, Shape, described, moment, show_moment
from modelyard.records import jobs as records
from modelyard.records.jobs import JobState

MAX_JOBS = 1000
"""Jobs in one answer: about 300 kB."""
RETRY = described("Do it once more, though the last job failed or is done.", accepted="true or false")


class Job(Shape, frozen=True, kw_only=True):
    """How far making a model available has got."""

    model_id: Annotated[str, described("The model.")]
    status: Annotated[JobState, described("How far it has got.")]
    message: Annotated[str, described("What it is doing; when it failed, why, and what to do.")]
    attempts: Annotated[int, described("How often it was begun.")]
    created: Annotated[str, moment("When it was asked for first.")]
    modified: Annotated[str, moment("When it last changed.")]
    start_time: Annotated[str | None, moment("When the latest attempt began.")]
    end_time: Annotated[str | None, moment("When it was over.")]


class JobAnswer(Answer[str], frozen=True, kw_only=True):
    """What asking for a model came to."""

    output: Annotated[str, described("Job queued, or how far the job has got.")]
    job: Annotated[Job, described("The job.")]


class RequestBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """May be left out."""

    retry: Annotated[bool, RETRY] = False


class JobsQuery(Shape, frozen=True, kw_only=True):
    """Which jobs."""

    model_id: Annotated[str | None, described("Only this model's, if you have asked for it.")] = None
    limit: Annotated[int, Meta(ge=0, le=MAX_JOBS), described("At most this many, those that changed last first.")] = 100


def show_job(job: records.Job) -> Job:
    """A job as v2 lists it."""
    return Job(
        model_id=job.model_id,
        status=job.state,
        message=job.message,
        attempts=job.attempts,
        created=iso(job.created_at),
        modified=iso(job.modified_at),
        start_time=show_moment(job.started_at),
        end_time=show_moment(job.ended_at),
    )


def show_progress(job: records.Job) -> str:
    """What whoever asks for the model again is told."""
    return "Model is already queued" if job.state is JobState.QUEUED else job.message
