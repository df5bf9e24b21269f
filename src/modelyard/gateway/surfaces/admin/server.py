"""The admin API's calls on what a server has and does: jobs, the cache, the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.cache_administration import ListedModel
from modelyard.accounts.usage import read_moment
from modelyard.gateway.event_streams import EVENT_STREAM, MOST_S, EventStreams, Seconds
from modelyard.gateway.job_watch import JobWatch
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.shapes.admin import (
    AllJobsQuery,
    AskBody,
    AuditLine,
    AuditQuery,
    CachedModel,
    Listed,
    ModelQuery,
    PagedQuery,
    PruneBody,
    show_audit,
    show_cached,
)
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.shapes.jobs import Job, JobAnswer, show_job, show_progress
from modelyard.gateway.surfaces.admin.accounts import LIST_COST
from modelyard.gateway.surfaces.admin.gate import Gate, describe
from modelyard.gateway.surfaces.admin.pages import answer_page
from modelyard.gateway.surfaces.v2.jobs import STREAM_OF_JOBS
from modelyard.jobs.queue import Jobs
from modelyard.records import audit
from modelyard.records.audit import Actor
from modelyard.records.models import check_model_id
from modelyard.store.jobs import Jobs as JobTable

PRUNE_COST = 50.0
"""It looks at every file of the cache."""


class LiveJobsQuery(AllJobsQuery, frozen=True, kw_only=True):
    """Which jobs to listen to, and how long."""

    seconds: Seconds = MOST_S


SERVER_CALLS = (
    describe(
        "GET",
        "/jobs",
        "List the jobs of one account or of all, the latest changed first",
        Answer[Sequence[Job]],
        query=AllJobsQuery,
        cost=LIST_COST,
    ),
    describe(
        "GET",
        "/jobs/live",
        "Listen to the jobs of one account or of all",
        None,
        query=LiveJobsQuery,
        answer_types={EVENT_STREAM: STREAM_OF_JOBS},
    ),
    describe("POST", "/jobs", "Have a model fetched and measured for an account", JobAnswer, body=AskBody),
    describe(
        "DELETE",
        "/jobs",
        "Cancel a model's job, waiting or under way, for all accounts that have asked for it",
        Answer[Job],
        query=ModelQuery,
    ),
    describe(
        "GET",
        "/cache",
        "List the models on the server's disk, in pages",
        Listed[CachedModel],
        query=PagedQuery,
        cost=PRUNE_COST,
    ),
    describe(
        "DELETE",
        "/cache",
        "Remove a model's files, unless they are in use",
        Answer[Sequence[CachedModel]],
        query=ModelQuery,
        cost=PRUNE_COST,
    ),
    describe(
        "POST",
        "/cache/prune",
        "Remove models that nobody uses, those unused for longest first",
        Answer[Sequence[CachedModel]],
        body=PruneBody,
        cost=PRUNE_COST,
    ),
    describe(
        "GET",
        "/audit",
        "Read who has changed what, oldest first",
        Answer[Sequence[AuditLine]],
        query=AuditQuery,
        cost=LIST_COST,
    ),
)


class ServerCalls:
    """Handlers over one server's jobs and disk."""

    def __init__(self, gate: Gate, jobs: Jobs, table: JobTable, streams: EventStreams) -> None:
        self._gate = gate
        self._jobs = jobs
        self._table = table
        self._streams = streams

    def operations(self) -> Sequence[Operation]:
        """What can be asked and done."""
        handlers = (
            self.list_jobs,
            self.listen,
            self.ask,
            self.cancel,
            self.list_cache,
            self.remove,
            self.prune,
            self.list_audit,
        )
        return [self._gate.serve(*each) for each in zip(SERVER_CALLS, handlers, strict=True)]

    async def list_jobs(self, request: Request, actor: Actor) -> Answer[Sequence[Job]]:
        """Jobs."""
        query = read_query(request, AllJobsQuery)
        account_id = await self._chosen_id(actor, query)
        found = await asyncio.to_thread(self._table.list, account_id, query.limit)
        return Answer(output=[show_job(job) for job in found])

    async def listen(self, request: Request, actor: Actor) -> Response:
        """The same, as they change."""
        query = read_query(request, LiveJobsQuery)
        account_id = await self._chosen_id(actor, query)
        watch = JobWatch(lambda: self._table.changes, partial(self._table.list, account_id, query.limit))
        return self._streams.answer(request, actor.name, watch.look, query.seconds)

    async def ask(self, request: Request, actor: Actor) -> JobAnswer:
        """Asks for a model in an account's name."""
        body = await read_body(request, AskBody)
        model_id = check_model_id(body.model)
        account_id = await self._account_id(actor, body.account)
        job, queued = await self._jobs.ask(account_id, model_id, again=body.retry)
        await asyncio.to_thread(self._gate.administration(actor).note_job, account_id, model_id, retry=body.retry)
        return JobAnswer(output="Job queued" if queued else show_progress(job), job=show_job(job))

    async def cancel(self, request: Request, actor: Actor) -> Answer[Job]:
        """Cancels a job."""
        model_id = read_query(request, ModelQuery).model
        await self._jobs.cancel(model_id)
        await asyncio.to_thread(self._gate.administration(actor).note_cancelled_job, model_id)
        job = await asyncio.to_thread(self._table.find, model_id)
        assert job is not None  # noqa: S101 - jobs are never deleted
        return Answer(output=show_job(job))

    async def list_cache(self, request: Request, actor: Actor) -> Response:
        """What is on the disk."""
        query = read_query(request, PagedQuery)
        found = await asyncio.to_thread(self._gate.cache(actor).list)
        return answer_page(request, query, found, mark_of, show_cached)

    async def remove(self, request: Request, actor: Actor) -> Answer[Sequence[CachedModel]]:
        """Removes one model's files."""
        query = read_query(request, ModelQuery)
        removed = await asyncio.to_thread(self._gate.cache(actor).remove, [query.model])
        return Answer(output=[show_cached(each) for each in removed])

    async def prune(self, request: Request, actor: Actor) -> Answer[Sequence[CachedModel]]:
        """Removes what nobody uses."""
        body = await read_body(request, PruneBody)
        removed = await asyncio.to_thread(
            self._gate.cache(actor).prune,
            older_than_days=body.older_than_days,
            to_bytes=body.to_bytes,
            dry_run=body.dry_run,
        )
        return Answer(output=[show_cached(each) for each in removed])

    async def list_audit(self, request: Request, actor: Actor) -> Answer[Sequence[AuditLine]]:
        """Lines of the audit log."""
        query = read_query(request, AuditQuery)
        wanted = audit.AuditQuery(
            query.account,
            query.action,
            query.actor,
            query.outcome,
            None if query.since is None else read_moment(query.since, "since"),
            query.after,
            query.before,
            query.limit,
        )
        found = await asyncio.to_thread(self._gate.administration(actor).list_audit, wanted)
        return Answer(output=[show_audit(line) for line in found])

    async def _chosen_id(self, actor: Actor, query: AllJobsQuery) -> str | None:
        return None if query.account is None else await self._account_id(actor, query.account)

    async def _account_id(self, actor: Actor, name_or_id: str) -> str:
        account = await asyncio.to_thread(self._gate.administration(actor).get_account, name_or_id)
        return account.id


def mark_of(model: ListedModel) -> str:
    """Where a model's files are in the list."""
    return f"{model.model_id} {model.kind}"
