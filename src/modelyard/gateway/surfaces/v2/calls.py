"""The v2 surface's calls beside inference: clusters, lists, jobs, events, logs and usage, in one envelope.

Owns the shapes of their bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modelyard.accounts.pricing import price
from modelyard.clock import iso
from modelyard.control.clusters import Report, read_changes
from modelyard.control.preparation import Prepared
from modelyard.control.replicas import Supervised
from modelyard.errors import InvalidRequest, MalformedBody, NotFound
from modelyard.gateway import jobs, problem, remedies, usage
from modelyard.gateway.listing import Page, benchmark_of, is_benchmarked, next_link, read_one, read_page
from modelyard.gateway.requests import new_request_id, whole_query
from modelyard.gateway.surfaces.v2.inference import envelope
from modelyard.records.accounts import Key
from modelyard.records.clusters import Event
from modelyard.records.models import Listing, check_model_id
from modelyard.serving import Services
from modelyard.tasks import body as bodies
from modelyard.tasks.reference import as_schemas
from modelyard.tasks.registry import TASKS, get_task
from modelyard.units import GIB

MAX_EVENTS = 1000
MAX_JOBS = 1000
LOG_BYTES = 64 * 1024


class Calls:
    """Handlers over one server's services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._max_body = services.settings.max_body_mb * 1024 * 1024

    def routes(self) -> list[Route]:
        """Every route but inference, the more particular first."""
        base = "/models/v2"
        return [
            Route(f"{base}/list/models", self._wrap(self.list_models), methods=["GET"]),
            Route(f"{base}/list/tasks", self._wrap(self.list_tasks), methods=["GET"]),
            Route(f"{base}/list/tasks/{{task}}", self._wrap(self.describe_task), methods=["GET"]),
            Route(f"{base}/list/clusters", self._wrap(self.list_clusters), methods=["GET"]),
            Route(f"{base}/list/jobs", self._wrap(self.list_jobs), methods=["GET"]),
            Route(f"{base}/request/{{org}}/{{model}}", self._wrap(self.request_model), methods=["POST"]),
            Route(f"{base}/request/{{org}}/{{model}}", self._wrap(self.describe_job), methods=["GET"]),
            Route(f"{base}/events/{{org}}/{{model}}", self._wrap(self.events), methods=["GET"]),
            Route(f"{base}/logs/{{org}}/{{model}}", self._wrap(self.logs), methods=["GET"]),
            Route(f"{base}/usage", self._wrap(self.usage), methods=["GET"]),
            Route(f"{base}/usage/{{request_id}}", self._wrap(self.request_usage), methods=["GET"]),
            Route(f"{base}/{{org}}/{{model}}", self._wrap(self.put), methods=["PUT"]),
            Route(f"{base}/{{org}}/{{model}}", self._wrap(self.get), methods=["GET"]),
            Route(f"{base}/{{org}}/{{model}}", self._wrap(self.patch), methods=["PATCH"]),
            Route(f"{base}/{{org}}/{{model}}", self._wrap(self.delete), methods=["DELETE"]),
        ]

    def _wrap(self, handler: Any) -> Any:
        """Authenticates, runs the handler, and turns errors into answers."""

        async def endpoint(request: Request) -> Response:
            request_id = new_request_id()
            try:
                key = await self._services.authenticator.authenticate(request.headers.get("authorization"))
                response: Response = await handler(request, key)
            except Exception as error:  # noqa: BLE001 - the border where every error becomes an answer
                status, payload, headers = problem.v2_answer(error, request_id)
                response = Response(payload, status, dict(headers), media_type=problem.JSON)
            response.headers["x-request-id"] = request_id
            return response

        return endpoint

    # --- clusters ---

    async def put(self, request: Request, key: Key) -> Response:
        """Creates or updates a cluster."""
        self._services.funds.check(key.account_id)
        changes = read_changes(await self._json(request), allow_status=False)
        await self._services.clusters.put(key.account_id, model_id_of(request), changes)
        return answer("Loading", status=202)

    async def get(self, request: Request, key: Key) -> Response:
        """Describes a cluster; `?events=N` adds its last N events."""
        supervised = self._services.clusters.get(key.account_id, model_id_of(request))
        shown = await self._show(supervised)
        if (limit := whole_query(request, "events", 0, MAX_EVENTS)) > 0:
            shown["events"] = await self._read_events(key, supervised.cluster.model_id, None, limit)
        return answer(shown, cluster=shown)

    async def patch(self, request: Request, key: Key) -> Response:
        """Changes a cluster."""
        changes = read_changes(await self._json(request), allow_status=True)
        supervised = await self._services.clusters.patch(key.account_id, model_id_of(request), changes)
        shown = await self._show(supervised)
        return answer(shown, cluster=shown)

    async def delete(self, request: Request, key: Key) -> Response:
        """Stops every instance and removes the cluster."""
        await self._services.clusters.delete(key.account_id, model_id_of(request))
        return answer("Deleted")

    # --- lists ---

    async def list_models(self, request: Request, key: Key) -> Response:
        """The catalogue in pages, filtered by `task` and `search`; or the one model of `modelId`."""
        model_id = request.query_params.get("modelId")
        if model_id is None:
            page = await read_page(self._services, request, servable=False)
        else:
            page = await read_one(self._services, model_id, request.query_params.get("task"))
        payload = await asyncio.to_thread(self._encode_models, page)
        return Response(payload, headers=next_link(request, page), media_type=problem.JSON)

    async def list_tasks(self, request: Request, key: Key) -> Response:
        """The names of the tasks this server can run."""
        return answer([task.id for task in TASKS])

    async def describe_task(self, request: Request, key: Key) -> Response:
        """One task: its inputs, params and output as JSON schemas, and an example."""
        return answer(as_schemas(get_task(request.path_params["task"])))

    async def list_clusters(self, request: Request, key: Key) -> Response:
        """The account's clusters."""
        return answer([await self._show(each) for each in self._services.clusters.list(key.account_id)])

    # --- jobs ---

    async def request_model(self, request: Request, key: Key) -> Response:
        """Asks for a model to be measured and listed; `{"retry": true}` once more."""
        body = await self._json(request)
        for name, value in body.items():
            if name != "retry":
                raise InvalidRequest(field=name, got=value, accepted='no such field; at most {"retry": true}')
        job, queued = await jobs.ask(self._services, key, model_id_of(request), body.get("retry", False))
        return answer("Job queued" if queued else jobs.words(job), job=jobs.v2_shape(job))

    async def describe_job(self, request: Request, key: Key) -> Response:
        """How far a job of the account's has got."""
        model_id = model_id_of(request)
        job = await asyncio.to_thread(self._services.store.jobs.find, model_id, key.account_id)
        if job is None:
            raise NotFound(
                f"You have not asked for {model_id}. Ask with POST /models/v2/request/{model_id}.", model=model_id
            )
        return answer(jobs.v2_shape(job))

    async def list_jobs(self, request: Request, key: Key) -> Response:
        """The account's jobs, those that changed last first; `?limit=`."""
        limit = whole_query(request, "limit", 100, MAX_JOBS)
        found = await asyncio.to_thread(self._services.store.jobs.list, key.account_id, limit)
        return answer([jobs.v2_shape(job) for job in found])

    async def events(self, request: Request, key: Key) -> Response:
        """A cluster's log, oldest first; `?limit=`, `?after=` an event's id."""
        limit = whole_query(request, "limit", 100, MAX_EVENTS)
        after = whole_query(request, "after", 0, 2**62) or None
        return answer(await self._read_events(key, model_id_of(request), after, limit))

    async def logs(self, request: Request, key: Key) -> Response:
        """The end of each of the newest `?replicas=` (1) workers' output."""
        count = whole_query(request, "replicas", 1, 100)
        model_id = model_id_of(request)
        folder = self._services.settings.data_dir / "logs" / key.account_id / model_id.replace("/", "--")
        found = await asyncio.to_thread(read_logs, folder, count)
        if not found:
            raise NotFound(f"No replica of {model_id} has run yet for your account.", model=model_id)
        return answer(found)

    # --- usage ---

    async def usage(self, request: Request, key: Key) -> Response:
        """What the account has used, and what it costs."""
        return answer(await usage.show_usage(self._services, request, key))

    async def request_usage(self, request: Request, key: Key) -> Response:
        """What one request took and cost."""
        return answer(await usage.show_one(self._services, request, key))

    # --- shapes ---

    async def _json(self, request: Request) -> dict[str, Any]:
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_body:
            raise MalformedBody("The body is too large for a cluster.")
        return bodies.decode_object(await request.body())

    async def _show(self, supervised: Supervised) -> dict[str, Any]:
        report = self._services.clusters.report(supervised)
        state = self._services.preparations.find(report.cluster.model_id)
        ram = state.card.memory_bytes if isinstance(state, Prepared) else None
        return cluster_json(report, ram)

    def _encode_models(self, page: Page) -> bytes:
        """A page in the envelope; `next` beside it when there is more. May be long: for a thread."""
        shown = [self._show_model(each, page.variants.get(each.model_id, ())) for each in page.listings]
        return envelope(shown, **({} if page.following is None else {"next": page.following}))

    def _show_model(self, listing: Listing, variants: Sequence[str]) -> dict[str, Any]:
        memory_bytes, parameters = listing.memory_bytes, listing.parameters
        cost = None if memory_bytes is None else price(memory_bytes, self._services.settings.price_per_gb_s)
        return {
            "modelId": listing.model_id,
            "task": listing.task,
            "params": None if parameters is None else round(parameters / 1e9, 6),
            "ramRequired": None if memory_bytes is None else round(memory_bytes / GIB, 4),
            "memorySource": listing.memory_source,
            "meter": None if cost is None else cost.meter,
            "meterPrice": None if cost is None else cost.usd_per_s,
            "benchmarked": is_benchmarked(listing),
            "benchmark": benchmark_of(listing),
            "architecture": listing.architecture,
            "source": listing.source,
            "revision": listing.revision,
            "license": listing.license,
            "variants": variants,
            "variantOf": listing.variant_of,
            "error": listing.refusal,
        }

    async def _read_events(self, key: Key, model_id: str, after: int | None, limit: int) -> list[dict[str, Any]]:
        await self._services.journal.flush()
        events = await asyncio.to_thread(
            self._services.store.events.list, key.account_id, model_id, after_id=after, limit=limit
        )
        return [event_json(event) for event in events]


def answer(output: Any, *, status: int = 200, **beside: Any) -> Response:
    """A JSON answer in the v2 envelope."""
    return Response(envelope(output, **beside), status, media_type=problem.JSON)


def cluster_json(report: Report, memory_bytes: int | None) -> dict[str, Any]:
    """A cluster as clients see it."""
    cluster = report.cluster
    last = cluster.last_inference_at
    return {
        "modelId": cluster.model_id,
        "status": report.status,
        "created": iso(cluster.created_at),
        "modified": iso(cluster.modified_at),
        "timeout": cluster.timeout_s,
        "capacity": {"min": cluster.capacity.min, "desired": cluster.capacity.desired, "max": cluster.capacity.max},
        "instances": report.instances,
        "inferences": report.inferences,
        "lastInference": None if last is None else iso(last),
        "expiresAt": None if report.expires_at is None else iso(report.expires_at),
        "ramRequired": None if memory_bytes is None else round(memory_bytes / GIB, 4),
        "ready": report.ready,
        "inFlight": report.in_flight,
        "queued": report.queued,
        "error": None if report.problem is None else remedies.sentence(report.problem, remedies.V2),
    }


def event_json(event: Event) -> dict[str, Any]:
    """One line of a cluster's log."""
    return {
        "id": event.id,
        "at": iso(event.at),
        "modelId": event.model_id,
        "kind": event.kind,
        "message": event.message,
    }


def model_id_of(request: Request) -> str:
    """The model a path names. Raises InvalidRequest."""
    return check_model_id(f"{request.path_params['org']}/{request.path_params['model']}")


def read_logs(folder: Path, count: int) -> list[dict[str, str]]:
    """The ends of the newest `count` log files in a folder, newest first."""
    files = sorted(folder.glob("*.log"), reverse=True)[:count] if folder.is_dir() else []
    logs = []
    for path in files:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            logs.append({"replica": path.stem, "text": file.read().decode(errors="replace")})
    return logs
