"""v1's calls beside `run`: list, load, look at and stop one model at a time, with bare bodies (seed 003).

Works on the same clusters as v2, so each surface shows what the other did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.clock import Clock
from modelyard.control.plane import Plane
from modelyard.errors import UnknownCluster
from modelyard.gateway.listing import LIST_COST, Listings, Page, next_link
from modelyard.gateway.operation import Handler, Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.shapes.base import V1Error, V1JobError
from modelyard.gateway.shapes.models import PageQuery
from modelyard.gateway.shapes.v1 import (
    DEFAULT_EXPIRATION_S,
    STATUS,
    JobBody,
    LoadBody,
    Loaded,
    LoadedModel,
    ModelBody,
    Stopped,
    V1Job,
    V1Model,
    show_listed,
    show_loaded,
    show_v1_job,
)
from modelyard.http.exchange import JSON
from modelyard.jobs.queue import Jobs
from modelyard.records.accounts import Key
from modelyard.records.clusters import Capacity, Changes

LOADED = frozenset({"STARTING", "INSTANTIATING", "RUNNING"})
"""The statuses in which a model runs requests, or soon will."""


class V1Calls:
    """Handlers over one control plane, one queue of jobs and one catalogue."""

    def __init__(
        self, plane: Plane, jobs: Jobs, aliases: Aliases, funds: Funds, listings: Listings, clock: Clock
    ) -> None:
        self._plane = plane
        self._aliases = aliases
        self._jobs = jobs
        self._funds = funds
        self._listings = listings
        self._clock = clock

    def operations(self) -> Sequence[Operation]:
        """Every call but `run`."""
        return [
            Operation(
                methods=("GET", "POST"),
                path="/model/list",
                summary="List models by id, in pages; a Link header leads to the next",
                tag="v1",
                handler=self.list,
                query=PageQuery,
                cost=LIST_COST,
                answer=Sequence[V1Model],
                error=V1Error,
            ),
            Operation(
                methods=("GET", "POST"),
                path="/model/instances",
                summary="List your loaded models",
                tag="v1",
                handler=self.instances,
                answer=Sequence[LoadedModel],
                error=V1Error,
            ),
            Operation(
                methods=("POST",),
                path="/model/job",
                summary="Have a model fetched and measured; call it again to see how far that has got",
                tag="v1",
                handler=self.job,
                body=JobBody,
                answer=V1Job,
                error=V1JobError,
            ),
            on_model("load", "Load a model", self.load, LoadBody, Loaded),
            on_model("status", "Check a loaded model", self.status, ModelBody, LoadedModel),
            on_model("delete", "Stop a loaded model", self.delete, ModelBody, Stopped),
        ]

    # --- what there is ---

    async def list(self, request: Request, key: Key) -> Response:
        """The models that can be loaded, in pages."""
        page = await self._listings.page(read_query(request, PageQuery), key.account_id, servable=True)
        payload = await asyncio.to_thread(encode_models, page)
        return Response(payload, headers=next_link(request, page), media_type=JSON)

    async def instances(self, request: Request, key: Key) -> Sequence[LoadedModel]:
        """The caller's models that are loaded or on their way."""
        now = self._clock.now()
        return [show_loaded(report, now) for report in await self._plane.list(key.account_id) if report.instances]

    # --- one model ---

    async def job(self, request: Request, key: Key) -> V1Job:
        """Asks for a model to be measured and listed; repeated, tells how far that has got. `retry`: once more."""
        body = await read_body(request, JobBody)
        model_id = self._aliases.model_of(key.account_id, body.model)
        self._funds.check(key.account_id)
        job, queued = await self._jobs.ask(key.account_id, model_id, again=body.retry)
        return show_v1_job(job, queued=queued)

    async def load(self, request: Request, key: Key) -> Loaded:
        """Loads a model; when it is there already, says so and changes nothing."""
        body = await read_body(request, LoadBody)
        model_id = self._aliases.model_of(key.account_id, body.model)
        existing = await self._plane.find(key.account_id, model_id)
        if existing is not None and (status := STATUS[existing.status]) in LOADED:
            message = "already loaded" if status == "RUNNING" else "operation already in progress: load"
            most = existing.cluster.capacity.max
            return Loaded(model=model_id, status=status, concurrency=most, message=message)
        self._funds.check(key.account_id)
        capacity, timeout_s = self._capacity_of(body, key), body.expiration_period_seconds
        timeout_s = DEFAULT_EXPIRATION_S if timeout_s is None else timeout_s
        changes = Changes(capacity.min, capacity.desired, capacity.max, timeout_s)
        await self._plane.put(key.account_id, model_id, changes)
        return Loaded(model=model_id, status="started", concurrency=capacity.max)

    def _capacity_of(self, body: LoadBody, key: Key) -> Capacity:
        """What is asked for, else what is bound to the name, else one instance."""
        if body.concurrency is not None:
            return Capacity(0, body.concurrency, body.concurrency)
        return self._aliases.capacity_of(key.account_id, body.model) or Capacity()

    async def status(self, request: Request, key: Key) -> LoadedModel:
        """How a model is doing."""
        model_id = await self._read_model_id(request, key)
        report = await self._plane.find(key.account_id, model_id)
        if report is None:
            raise not_loaded(model_id)
        return show_loaded(report, self._clock.now())

    async def delete(self, request: Request, key: Key) -> Stopped:
        """Stops a model at once; one that is not loaded is stopped already."""
        model_id = await self._read_model_id(request, key)
        if await self._plane.find(key.account_id, model_id) is not None:
            await self._plane.delete(key.account_id, model_id)
        return Stopped(model=model_id)

    async def _read_model_id(self, request: Request, key: Key) -> str:
        return self._aliases.model_of(key.account_id, (await read_body(request, ModelBody)).model)


def on_model(name: str, summary: str, handler: Handler, body: type[ModelBody], answer: object) -> Operation:
    """A call on one model, named in the body."""
    return Operation(
        methods=("POST",),
        path=f"/model/{name}",
        summary=summary,
        tag="v1",
        handler=handler,
        body=body,
        answer=answer,
        error=V1Error,
    )


def encode_models(page: Page) -> bytes:
    """A page of models. May be long: for a thread."""
    return msgspec.json.encode([show_listed(listing) for listing in page.listings])


def not_loaded(model_id: str) -> UnknownCluster:
    """The error for a model that nobody has loaded, or that has expired since."""
    return UnknownCluster(f"{model_id} is not loaded.", model=model_id)
