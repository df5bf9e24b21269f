"""What v1 reads and answers, without an envelope (seed 003)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from modelyard.clock import iso
from modelyard.control.clusters import Report
from modelyard.control.states import ClusterStatus
from modelyard.gateway.remedies import V1, sentence
from modelyard.gateway.shapes.base import Shape, described, moment, show_moment
from modelyard.gateway.shapes.clusters import IdleSeconds
from modelyard.gateway.shapes.jobs import RETRY, show_progress
from modelyard.gateway.shapes.models import is_benchmarked
from modelyard.records import jobs as records
from modelyard.records.clusters import MAX_REPLICAS
from modelyard.records.jobs import JobState
from modelyard.records.models import Listing
from modelyard.units import GIB

Status = Literal["STARTING", "INSTANTIATING", "RUNNING", "STOPPING", "STOPPED", "FAILED"]
STATUS: dict[ClusterStatus, Status] = {
    ClusterStatus.QUEUED: "STARTING",
    ClusterStatus.DOWNLOADING: "STARTING",
    ClusterStatus.BOOTING: "INSTANTIATING",
    ClusterStatus.LOADING: "INSTANTIATING",
    ClusterStatus.RUNNING: "RUNNING",
    ClusterStatus.SCALING: "RUNNING",
    ClusterStatus.STOPPING: "STOPPING",
    ClusterStatus.STOPPED: "STOPPED",
    ClusterStatus.FAILED: "FAILED",
}
"""A cluster's status in the words of v1."""
DEFAULT_EXPIRATION_S = 1800
"""Half an hour, as the hosted service's v1 (seed 003)."""


class ModelBody(Shape, frozen=True, kw_only=True):
    """Which model."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]


class LoadBody(ModelBody, frozen=True, kw_only=True):
    """Which model, and how."""

    concurrency: Annotated[Annotated[int, Meta(ge=1, le=MAX_REPLICAS)] | None, described("Most instances (1).")] = None
    expiration_period_seconds: Annotated[
        IdleSeconds | None,
        described(f"Idle seconds after which it is stopped (default {DEFAULT_EXPIRATION_S})."),
    ] = None


class JobBody(ModelBody, frozen=True, kw_only=True):
    """Which model."""

    retry: Annotated[bool, RETRY] = False


class V1Model(Shape, frozen=True, kw_only=True):
    """A model as v1 lists it, and, beside them, the same facts by v2's names."""

    name: Annotated[str, described("The model, org/name.")]
    required_ram: Annotated[float | None, described("GB of memory one instance needs.")] = msgspec.field(
        name="requiredRAM"
    )
    benchmarked: Annotated[bool, described("Whether it was measured, by whomever; else it is an estimate.")]
    model_id: Annotated[str, described("The same as name.")]
    ram_required: Annotated[float | None, described("The same as requiredRAM.")]
    task: Annotated[str | None, described("What it does.")]


class Loaded(Shape, frozen=True, kw_only=True):
    """What loading came to."""

    model: Annotated[str, described("The model.")]
    status: Annotated[Status | Literal["started"], described("started; of a model that is there already, its status.")]
    concurrency: Annotated[int, described("Most instances.")]
    message: Annotated[
        str | UnsetType, described("Of a model that is there already: already loaded, or that it is on its way.")
    ] = UNSET


class LoadedModel(Shape, frozen=True, kw_only=True):
    """How a loaded model is doing."""

    model: Annotated[str, described("The model.")]
    status: Annotated[Status, described("What it is doing.")]
    concurrency: Annotated[int, described("Most instances.")]
    inferences: Annotated[int, described("Requests answered since it was loaded.")]
    expiration_period_seconds: Annotated[int, described("Idle seconds after which it is stopped.")]
    expiration_period_minutes: Annotated[float, described("The same in minutes.")]
    expires_at: Annotated[str | None, moment("When it is stopped unless it is run before.")]
    created: Annotated[str, moment("When it was loaded first.")]
    modified: Annotated[str, moment("When it was last changed.")]
    error: Annotated[str | UnsetType, described("Why it failed.")] = UNSET


class Stopped(Shape, frozen=True, kw_only=True):
    """A model that is not loaded any more."""

    model: Annotated[str, described("The model.")]
    status: Annotated[Literal["stopped"], described("Always stopped.")] = "stopped"


class V1Job(Shape, frozen=True, kw_only=True):
    """How far making a model available has got."""

    model: Annotated[str, described("The model.")]
    success: Annotated[bool, described("False when the job failed.")]
    message: Annotated[
        str | UnsetType, described("How far it has got; `Model available` in the end. Not in the first answer.")
    ] = UNSET
    start_time: Annotated[str | UnsetType | None, moment("When the work began.")] = UNSET
    end_time: Annotated[str | UnsetType, moment("When it was over.")] = UNSET
    error: Annotated[str | UnsetType, described("Why it failed.")] = UNSET
    modified: Annotated[str, moment("When it last changed.")]


def show_listed(listing: Listing) -> V1Model:
    """A model as v1 lists it."""
    gigabytes = None if listing.memory_bytes is None else round(listing.memory_bytes / GIB, 6)
    return V1Model(
        name=listing.model_id,
        required_ram=gigabytes,
        benchmarked=is_benchmarked(listing),
        model_id=listing.model_id,
        ram_required=gigabytes,
        task=listing.task,
    )


def show_loaded(report: Report, now: datetime) -> LoadedModel:
    """How a model is doing.

    One that loads or works does not expire before it has been idle for its whole period, from now at the earliest.
    """
    cluster = report.cluster
    expires_at = report.expires_at
    if expires_at is None and report.instances > cluster.capacity.min:
        expires_at = now + timedelta(seconds=cluster.timeout_s)
    return LoadedModel(
        model=cluster.model_id,
        status=STATUS[report.status],
        concurrency=cluster.capacity.max,
        inferences=cluster.inferences,
        expiration_period_seconds=cluster.timeout_s,
        expiration_period_minutes=tidy(cluster.timeout_s / 60),
        expires_at=show_moment(expires_at),
        created=iso(cluster.created_at),
        modified=iso(cluster.modified_at),
        error=UNSET if report.problem is None else sentence(report.problem, V1),
    )


def tidy(number: float) -> int | float:
    """A whole number as one."""
    return int(number) if number == int(number) else round(number, 4)


def show_v1_job(job: records.Job, *, queued: bool) -> V1Job:
    """A job as v1 answers it. `queued`: this call has queued it."""
    return V1Job(
        model=job.model_id,
        success=job.state is not JobState.FAILED,
        message=UNSET if queued else show_progress(job),
        start_time=UNSET if queued else show_moment(job.started_at),
        end_time=UNSET if job.ended_at is None else iso(job.ended_at),
        error=job.message if job.state is JobState.FAILED else UNSET,
        modified=iso(job.modified_at),
    )
