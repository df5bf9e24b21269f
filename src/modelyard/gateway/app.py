"""The server's one ASGI application: inference goes straight to its function, everything else through Starlette.

Owns routing and health.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modelyard.accounts.calls import CallBudget
from modelyard.errors import ModelyardError
from modelyard.gateway import openapi, page
from modelyard.gateway.bounded_bodies import BoundedBodies
from modelyard.gateway.endpoint import Authenticate, route
from modelyard.gateway.inference import Inferences
from modelyard.gateway.operation import Operation
from modelyard.gateway.surfaces.base import Surface
from modelyard.http.exchange import JSON, HttpExchange, Receive, Scope, Send
from modelyard.tasks.registry import TASKS

V1_RUN = "/model/run"
V2_PREFIX = "/models/v2/"


class App:
    """ASGI 3. Has no lifespan: whoever runs it opens and closes its parts around it."""

    def __init__(
        self,
        inferences: Inferences,
        v1: Surface,
        v2: Surface,
        operations: Sequence[Operation],
        authenticate: Authenticate,
        budget: CallBudget,
    ) -> None:
        """`operations`: every call, the more particular path first; those without a handler are inferences, which are
        described like the others and served beside the router."""
        self._inferences = inferences
        self._v1 = v1
        self._v2 = v2
        calls = [
            (route(each, each.handler, authenticate, budget), each) for each in operations if each.handler is not None
        ]
        rest = Starlette(
            routes=[
                *(route for route, _ in calls),
                Route("/openapi.json", openapi.serve(operations, TASKS)),
                *page.routes(),
            ],
            exception_handlers={HTTPException: not_found},
        )
        self._rest = BoundedBodies(rest, calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatches one ASGI connection."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(V2_PREFIX):
            org, slash, model = scope["path"][len(V2_PREFIX) :].partition("/")
            if slash and model and "/" not in model:
                await self._inferences.serve(HttpExchange(scope, receive, send), self._v2, f"{org}/{model}")
                return
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == V1_RUN:
            await self._inferences.serve(HttpExchange(scope, receive, send), self._v1)
            return
        await self._rest(scope, receive, send)


async def not_found(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such path, wrong method) in the v2 envelope."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    words = {
        404: f"There is nothing at {request.url.path}. See /docs for what there is.",
        405: f"{request.method} is not possible at {request.url.path}; possible: {headers.get('Allow', 'nothing')}.",
    }
    message = words.get(status) or (error.message if isinstance(error, ModelyardError) else "The request failed.")
    return Response(msgspec.json.encode({"error": message, "output": None}), status, headers, media_type=JSON)
