"""The server's one ASGI application: inference goes straight to its function, everything else through Starlette.

Owns routing and health.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modelyard.errors import ModelyardError
from modelyard.gateway import openapi, page, problem
from modelyard.gateway.artefacts import ArtefactCalls
from modelyard.gateway.endpoint import route
from modelyard.gateway.health import HealthCalls
from modelyard.gateway.listing import Listings
from modelyard.gateway.operation import Operation
from modelyard.gateway.surfaces.inference import V1_INFERENCE, V2_INFERENCE
from modelyard.gateway.surfaces.v1.inference import V1Inference
from modelyard.gateway.surfaces.v1.models import V1Calls
from modelyard.gateway.surfaces.v2.clusters import ClusterCalls
from modelyard.gateway.surfaces.v2.inference import V2Inference
from modelyard.gateway.surfaces.v2.jobs import JobCalls
from modelyard.gateway.surfaces.v2.models import ModelCalls
from modelyard.gateway.surfaces.v2.usage import UsageCalls
from modelyard.http.exchange import HttpExchange, Receive, Scope, Send
from modelyard.serving import Services
from modelyard.tasks.registry import TASKS

V1_RUN = "/model/run"
V2_PREFIX = "/models/v2/"
RESERVED = frozenset({"list", "events", "logs", "request", "usage", "openai"})
"""First path parts under /models/v2 that are no organisation."""


class App:
    """ASGI 3. Has no lifespan: whoever runs it opens and closes the services around it."""

    def __init__(self, services: Services) -> None:
        """`services`: open, and kept open for as long as requests come."""
        max_body_bytes = services.settings.max_body_mb * 1024 * 1024
        self._inferences = services.inferences
        self._v2 = V2Inference(services.artefacts, max_body_bytes, services.settings.public_url)
        self._v1 = V1Inference(max_body_bytes)
        operations = [*calls_of(services), V2_INFERENCE, V1_INFERENCE]
        self._rest = Starlette(
            routes=[
                *(
                    route(operation, operation.handler, services.authenticator.authenticate)
                    for operation in operations
                    if operation.handler is not None
                ),
                Route("/openapi.json", openapi.serve(operations, TASKS)),
                *page.routes(),
            ],
            exception_handlers={HTTPException: not_found},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatches one ASGI connection."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(V2_PREFIX):
            org, slash, model = scope["path"][len(V2_PREFIX) :].partition("/")
            if slash and model and "/" not in model and org not in RESERVED:
                await self._inferences.serve(HttpExchange(scope, receive, send), self._v2, f"{org}/{model}")
                return
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == V1_RUN:
            await self._inferences.serve(HttpExchange(scope, receive, send), self._v1)
            return
        await self._rest(scope, receive, send)


def calls_of(services: Services) -> Iterator[Operation]:
    """Every operation but inference, the more particular path first."""
    settings, plane, funds, store = services.settings, services.plane, services.funds, services.store
    max_body_bytes = settings.max_body_mb * 1024 * 1024
    price_per_gb_s = settings.price_per_gb_s
    listings = Listings(services.index, services.catalog, store.models, services.clock)
    yield from HealthCalls(plane, services.quotas).operations()
    yield from ModelCalls(listings, price_per_gb_s=price_per_gb_s).operations()
    yield from JobCalls(services.jobs, store.jobs, funds, max_body_bytes=max_body_bytes).operations()
    yield from UsageCalls(
        store, services.journal, funds, services.ledger_clock, price_per_gb_s=price_per_gb_s
    ).operations()
    yield from ClusterCalls(plane, funds, max_body_bytes=max_body_bytes).operations()
    yield from V1Calls(
        plane, services.jobs, funds, listings, services.clock, max_body_bytes=max_body_bytes
    ).operations()
    yield from ArtefactCalls(services.artefacts).operations()


async def not_found(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such path, wrong method) in the v2 envelope."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    words = {
        404: f"There is nothing at {request.url.path}. See /docs for what there is.",
        405: f"{request.method} is not possible at {request.url.path}; possible: {headers.get('Allow', 'nothing')}.",
    }
    message = words.get(status) or (error.message if isinstance(error, ModelyardError) else "The request failed.")
    return Response(msgspec.json.encode({"error": message, "output": None}), status, headers, media_type=problem.JSON)
