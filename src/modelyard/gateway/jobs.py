"""Jobs as both surfaces show them: a model asked for, how far it has got, why it failed.

Owns the checks, words and shapes; the work is `control.jobs`'.
"""

from __future__ import annotations

from typing import Any

from modelyard.clock import iso
from modelyard.errors import InvalidRequest
from modelyard.records.accounts import Key
from modelyard.records.jobs import Job, JobState
from modelyard.serving import Services


async def ask(services: Services, key: Key, model_id: str, retry: Any) -> tuple[Job, bool]:
    """The model's job; True when this call has queued it. Raises InvalidRequest, PaymentRequired, UnknownModel, ..."""
    if not isinstance(retry, bool):
        raise InvalidRequest(field="retry", got=retry, accepted="true or false")
    services.funds.check(key.account_id)
    return await services.jobs.ask(key.account_id, model_id, again=retry)


def v1_shape(job: Job, *, queued: bool) -> dict[str, Any]:
    """A job as `/model/job` answers it (seed 003). `queued`: this call has queued it."""
    shown: dict[str, Any] = {"model": job.model_id, "success": job.state is not JobState.FAILED}
    if not queued:
        shown["message"] = words(job)
        shown["startTime"] = None if job.started_at is None else iso(job.started_at)
    if job.ended_at is not None:
        shown["endTime"] = iso(job.ended_at)
    if job.state is JobState.FAILED:
        shown["error"] = job.message
    return {**shown, "modified": iso(job.modified_at)}


def words(job: Job) -> str:
    """What whoever asks for it again is told."""
    return "Model is already queued" if job.state is JobState.QUEUED else job.message


def v2_shape(job: Job) -> dict[str, Any]:
    """A job as v2 lists it."""
    return {
        "modelId": job.model_id,
        "status": job.state,
        "message": job.message,
        "attempts": job.attempts,
        "created": iso(job.created_at),
        "modified": iso(job.modified_at),
        "startTime": None if job.started_at is None else iso(job.started_at),
        "endTime": None if job.ended_at is None else iso(job.ended_at),
    }
