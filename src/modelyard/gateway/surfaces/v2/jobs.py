"""v2's calls on jobs: ask for a model, see how far that has got. The work is `jobs`'."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.errors import NotFound
from modelyard.gateway.event_streams import EVENT_STREAM, MOST_S, EventStreams, Seconds
from modelyard.gateway.job_watch import JobWatch
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.requests import model_name_of
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.shapes.jobs import Job, JobAnswer, JobsQuery, RequestBody, show_job, show_progress
from modelyard.jobs.queue import Jobs
from modelyard.records import jobs as records
from modelyard.records.accounts import Key
from modelyard.store.jobs import Jobs as JobTable

PATH = "/models/v2/request/{org}/{model}"
STREAM_OF_JOBS = {
    "type": "string",
    "description": "Server-sent events: `job` (a Job that has changed, all of them at first), `known` (once, when all "
    "were told); a comment at least every ten seconds.",
}


class LiveJobsQuery(JobsQuery, frozen=True, kw_only=True):
    """Which jobs to listen to, and how long."""

    seconds: Seconds = MOST_S


class JobCalls:
    """Handlers over one queue of jobs, and over the table that remembers them."""

    def __init__(self, jobs: Jobs, table: JobTable, aliases: Aliases, funds: Funds, streams: EventStreams) -> None:
        self._jobs = jobs
        self._table = table
        self._aliases = aliases
        self._funds = funds
        self._streams = streams

    def operations(self) -> Sequence[Operation]:
        """What can be done with jobs."""
        return [
            Operation(
                path="/models/v2/list/jobs",
                summary="List the models you asked for",
                tag="lists",
                handler=self.list,
                query=JobsQuery,
                answer=Answer[Sequence[Job]],
            ),
            Operation(
                path="/models/v2/list/jobs/live",
                summary="Listen to how far the models have got that you asked for",
                tag="lists",
                handler=self.listen,
                query=LiveJobsQuery,
                answer=None,
                answer_types={EVENT_STREAM: STREAM_OF_JOBS},
            ),
            Operation(
                methods=("POST",),
                path=PATH,
                summary="Have a model fetched and measured, or a variant of it (`.onnx`, `.onnx.8-bit`) made",
                tag="jobs",
                handler=self.ask,
                body=RequestBody,
                answer=JobAnswer,
            ),
            Operation(
                path=PATH,
                summary="Read how far that has got",
                tag="jobs",
                handler=self.get,
                answer=Answer[Job],
            ),
        ]

    async def ask(self, request: Request, key: Key) -> JobAnswer:
        """Asks for a model to be measured and listed; `retry`: once more."""
        body = await read_body(request, RequestBody)
        model_id = self._aliases.model_of(key.account_id, model_name_of(request))
        self._funds.check(key.account_id)
        job, queued = await self._jobs.ask(key.account_id, model_id, again=body.retry)
        return JobAnswer(output="Job queued" if queued else show_progress(job), job=show_job(job))

    async def get(self, request: Request, key: Key) -> Answer[Job]:
        """How far a job of the account's has got."""
        model_id = self._aliases.model_of(key.account_id, model_name_of(request))
        job = await asyncio.to_thread(self._table.find, model_id, key.account_id)
        if job is None:
            raise NotFound(
                f"You have not asked for {model_id}. Ask with POST /models/v2/request/{model_id}.", model=model_id
            )
        return Answer(output=show_job(job))

    async def list(self, request: Request, key: Key) -> Answer[Sequence[Job]]:
        """The account's jobs, those that changed last first."""
        found = await asyncio.to_thread(self._reader_of(key.account_id, read_query(request, JobsQuery)))
        return Answer(output=[show_job(job) for job in found])

    async def listen(self, request: Request, key: Key) -> Response:
        """The same jobs, as they change."""
        query = read_query(request, LiveJobsQuery)
        watch = JobWatch(lambda: self._table.changes, self._reader_of(key.account_id, query))
        return self._streams.answer(request, key.account_id, watch.look, query.seconds)

    def _reader_of(self, account_id: str, query: JobsQuery) -> Callable[[], Sequence[records.Job]]:
        if query.model_id is None:
            return partial(self._table.list, account_id, query.limit)
        return partial(self._list_one, self._aliases.model_of(account_id, query.model_id), account_id)

    def _list_one(self, model_id: str, account_id: str) -> Sequence[records.Job]:
        job = self._table.find(model_id, account_id)
        return [] if job is None else [job]
