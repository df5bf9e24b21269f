"""The v1 surface's calls beside `run`: load, look at and stop one model at a time, with bare bodies (seed 003).

Owns their words and shapes; works on the same clusters as v2, so each surface shows what the other did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modelyard.clock import iso
from modelyard.control.clusters import MAX_REPLICAS, MAX_TIMEOUT_S, Changes, Report, whole_number
from modelyard.control.replicas import Supervised
from modelyard.control.states import ClusterStatus
from modelyard.errors import InvalidRequest, NotFound
from modelyard.gateway import jobs, problem, remedies
from modelyard.gateway.listing import Page, is_benchmarked, next_link, read_page
from modelyard.gateway.requests import new_request_id
from modelyard.records.accounts import Key
from modelyard.records.models import Listing, check_model_id
from modelyard.serving import Services
from modelyard.tasks import body as bodies
from modelyard.units import GIB

DEFAULT_EXPIRATION_S = 1800

STATUS = {
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
LOADED = frozenset({"STARTING", "INSTANTIATING", "RUNNING"})
"""The statuses in which a model runs requests, or soon will."""


class Calls:
    """Handlers over one server's services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._max_body = services.settings.max_body_mb * 1024 * 1024

    def routes(self) -> list[Route]:
        """Every route but `run`."""
        return [
            Route("/model/list", self._wrap(self.list), methods=["GET", "POST"]),
            Route("/model/instances", self._wrap(self.instances), methods=["GET", "POST"]),
            Route("/model/job", self._wrap(self.job, success=False), methods=["POST"]),
            Route("/model/load", self._wrap(self.load), methods=["POST"]),
            Route("/model/status", self._wrap(self.status), methods=["POST"]),
            Route("/model/delete", self._wrap(self.delete), methods=["POST"]),
        ]

    def _wrap(self, handler: Any, **beside: Any) -> Any:
        """Authenticates, runs the handler, and turns errors into `{"error": ...}` with what goes `beside`."""

        async def endpoint(request: Request) -> Response:
            request_id = new_request_id()
            try:
                key = await self._services.authenticator.authenticate(request.headers.get("authorization"))
                status, data = 200, await handler(request, key)
                if isinstance(data, Response):
                    data.headers["x-request-id"] = request_id
                    return data
            except Exception as error:  # noqa: BLE001 - the border where every error becomes an answer
                problem.note(error, request_id)
                payload = msgspec.json.encode({**beside, "error": problem.message_of(error, request_id, remedies.V1)})
                headers = {"x-request-id": request_id, **problem.headers_of(error)}
                return Response(payload, problem.status_of(error), headers, media_type=problem.JSON)
            return Response(msgspec.json.encode(data), status, {"x-request-id": request_id}, media_type=problem.JSON)

        return endpoint

    # --- what there is ---

    async def list(self, request: Request, key: Key) -> Any:
        """The models that can be loaded, in pages; `?task=` only those of a task, `?search=` of a part of their id."""
        page = await read_page(self._services, request, servable=True)
        payload = await asyncio.to_thread(encode_models, page)
        return Response(payload, headers=next_link(request, page), media_type=problem.JSON)

    async def instances(self, request: Request, key: Key) -> Any:
        """The caller's models that are loaded or on their way."""
        reports = (self._services.clusters.report(each) for each in self._services.clusters.list(key.account_id))
        return [show_status(report, self._services.clock.now()) for report in reports if report.instances]

    # --- one model ---

    async def job(self, request: Request, key: Key) -> Any:
        """Asks for a model to be measured and listed; repeated, tells how far that has got. `retry`: once more."""
        body = await read_object(request)
        job, queued = await jobs.ask(self._services, key, model_of(body), body.get("retry", False))
        return jobs.v1_shape(job, queued=queued)

    async def load(self, request: Request, key: Key) -> Any:
        """Loads a model; when it is there already, says so and changes nothing."""
        body = await read_object(request)
        model_id = model_of(body)
        concurrency = whole_number(body.get("concurrency"), "concurrency", MAX_REPLICAS)
        concurrency = 1 if concurrency is None else concurrency
        if concurrency < 1:
            raise InvalidRequest(field="concurrency", got=0, accepted=f"a whole number from 1 to {MAX_REPLICAS}")
        timeout_s = whole_number(body.get("expirationPeriodSeconds"), "expirationPeriodSeconds", MAX_TIMEOUT_S)
        existing = self._services.clusters.find(key.account_id, model_id)
        if existing is not None and (status := self._status_of(existing)) in LOADED:
            message = "already loaded" if status == "RUNNING" else "operation already in progress: load"
            return {
                "model": model_id,
                "status": status,
                "concurrency": existing.cluster.capacity.max,
                "message": message,
            }
        self._services.funds.check(key.account_id)
        changes = Changes(
            min=0,
            desired=concurrency,
            max=concurrency,
            timeout_s=DEFAULT_EXPIRATION_S if timeout_s is None else timeout_s,
        )
        await self._services.clusters.put(key.account_id, model_id, changes)
        return {"model": model_id, "status": "started", "concurrency": concurrency}

    async def status(self, request: Request, key: Key) -> Any:
        """How a model is doing."""
        model_id = model_of(await read_object(request))
        supervised = self._services.clusters.find(key.account_id, model_id)
        if supervised is None:
            raise not_loaded(model_id)
        return show_status(self._services.clusters.report(supervised), self._services.clock.now())

    async def delete(self, request: Request, key: Key) -> Any:
        """Stops a model at once; one that is not loaded is stopped already."""
        model_id = model_of(await read_object(request))
        if self._services.clusters.find(key.account_id, model_id) is not None:
            await self._services.clusters.delete(key.account_id, model_id)
        return {"model": model_id, "status": "stopped"}

    def _status_of(self, supervised: Supervised) -> str:
        return STATUS[self._services.clusters.report(supervised).status]


def encode_models(page: Page) -> bytes:
    """A page of models. May be long: for a thread."""
    return msgspec.json.encode([show_model(listing) for listing in page.listings])


def show_model(listing: Listing) -> dict[str, Any]:
    """A model as v1 lists it, and, beside them, the same facts by v2's names."""
    gigabytes = None if listing.memory_bytes is None else round(listing.memory_bytes / GIB, 6)
    return {
        "name": listing.model_id,
        "requiredRAM": gigabytes,
        "benchmarked": is_benchmarked(listing),
        "modelId": listing.model_id,
        "ramRequired": gigabytes,
        "task": listing.task,
    }


def show_status(report: Report, now: datetime) -> dict[str, Any]:
    """A model's status. `error` only when it failed.

    A model that loads or works does not expire before it has been idle for its whole period, from now at the earliest.
    """
    cluster = report.cluster
    expires_at = report.expires_at
    if expires_at is None and report.instances > cluster.capacity.min:
        expires_at = now + timedelta(seconds=cluster.timeout_s)
    shown = {
        "model": cluster.model_id,
        "status": STATUS[report.status],
        "concurrency": cluster.capacity.max,
        "inferences": report.inferences,
        "expirationPeriodSeconds": cluster.timeout_s,
        "expirationPeriodMinutes": tidy(cluster.timeout_s / 60),
        "expiresAt": None if expires_at is None else iso(expires_at),
        "created": iso(cluster.created_at),
        "modified": iso(cluster.modified_at),
    }
    return shown if report.problem is None else {**shown, "error": remedies.sentence(report.problem, remedies.V1)}


def tidy(number: float) -> int | float:
    """A whole number as one."""
    return int(number) if number == int(number) else round(number, 4)


async def read_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises MalformedBody."""
    return bodies.decode_object(await request.body())


def model_of(body: Mapping[str, Any]) -> str:
    """The model a body names. Raises InvalidRequest."""
    model_id = body.get("model")
    if not isinstance(model_id, str):
        raise InvalidRequest(field="model", got=model_id, accepted="org/name")
    return check_model_id(model_id)


def not_loaded(model_id: str) -> NotFound:
    """The error for a model that nobody has loaded, or that has expired since."""
    return NotFound(
        f'{model_id} is not loaded. Load it first: POST /model/load {{"model": "{model_id}"}}.', model=model_id
    )
