"""The server's one ASGI application: inference goes straight to its function, everything else through Starlette.

Owns routing and health.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from modelyard import __version__
from modelyard.errors import ModelyardError
from modelyard.gateway import artefacts, openapi, problem
from modelyard.gateway.surfaces.v1.calls import Calls as V1Calls
from modelyard.gateway.surfaces.v1.inference import V1Inference
from modelyard.gateway.surfaces.v2.calls import Calls as V2Calls
from modelyard.gateway.surfaces.v2.inference import V2Inference
from modelyard.http.exchange import HttpExchange, Receive, Scope, Send
from modelyard.serving import Services

V1_RUN = "/model/run"
V2_PREFIX = "/models/v2/"
RESERVED = frozenset({"list", "events", "logs", "request", "usage", "openai"})
"""First path parts under /models/v2 that are no organisation."""


def json_response(status: int, data: Any) -> Response:
    """A JSON answer outside any envelope."""
    return Response(msgspec.json.encode(data), status, media_type=problem.JSON)


class App:
    """ASGI 3. Has no lifespan: whoever runs it opens and closes the services around it."""

    def __init__(self, services: Services) -> None:
        """`services`: open, and kept open for as long as requests come."""
        self._services = services
        max_body_bytes = services.settings.max_body_mb * 1024 * 1024
        self._inferences = services.inferences
        self._v2 = V2Inference(services.artefacts, max_body_bytes, services.settings.public_url)
        self._v1 = V1Inference(max_body_bytes)
        self._rest = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/livez", self.livez),
                Route("/readyz", self.readyz),
                *V2Calls(services).routes(),
                *V1Calls(services).routes(),
                Route(artefacts.PREFIX + "{name}", artefacts.serve(services.artefacts), methods=["GET", "HEAD"]),
                Route("/openapi.json", openapi.document),
                Route("/docs", openapi.page),
                Mount("/docs/assets", openapi.assets()),
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

    async def livez(self, request: Request) -> Response:
        """The process answers."""
        return json_response(200, {"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """Requests are taken. A cold model is no reason not to be ready: its requests wait."""
        return json_response(200, {"status": "ready"})

    async def health(self, request: Request) -> Response:
        """What the server is doing: `warm` once boots are quick.

        `underWay`: inferences from admission to the end of their answer; of them, `inFlight` are on a replica and
        `queued` wait for one.
        """
        load = self._services.routes.totals()
        return json_response(
            200,
            {
                "status": "ok",
                "version": __version__,
                "warm": self._services.engine.warm,
                "underWay": self._services.quotas.under_way(),
                "inFlight": load.in_flight,
                "queued": load.queued,
                "clusters": len(self._services.clusters.all()),
            },
        )


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
