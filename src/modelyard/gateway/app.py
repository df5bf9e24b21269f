"""The server's one ASGI application: inference goes straight to its function, everything else to another application,
by default one of Starlette's.

Owns routing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from modelyard.accounts.calls import CallBudget
from modelyard.errors import ModelyardError
from modelyard.gateway import openapi, page
from modelyard.gateway.bounded_bodies import BoundedBodies
from modelyard.gateway.console.page import ConsolePage
from modelyard.gateway.endpoint import Authenticate, route
from modelyard.gateway.inference import Inferences
from modelyard.gateway.operation import Operation
from modelyard.gateway.surfaces.every import Surfaces
from modelyard.gateway.wrong_paths import describe_nothing
from modelyard.http.exchange import JSON, HttpExchange, Receive, Scope, Send
from modelyard.http.exchange import App as ASGIApp
from modelyard.tasks.registry import TASKS

PATHS_KEPT, SHORT_PATH = 1024, 256
"""Paths of inferences that are taken apart once only, and the most characters of such a one."""


class App:
    """ASGI 3. Has no lifespan: whoever runs it opens and closes its parts around it."""

    def __init__(self, inferences: Inferences, surfaces: Surfaces, calls: ASGIApp) -> None:
        """`calls`: everything but inferences, which are served by `surfaces`."""
        self._inferences = inferences
        self._find = surfaces.find
        self._find_short = lru_cache(maxsize=PATHS_KEPT)(surfaces.find)
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatches one ASGI connection. A slash at the end of a path means nothing: of a redirect, many clients would
        make an error, or another request without their key."""
        found, path = None, scope.get("path", "/")
        if path.endswith("/") and path != "/":
            path = path.rstrip("/") or "/"
            scope = {**scope, "path": path}
        if scope["type"] == "http" and scope["method"] == "POST":
            found = self._find_short(path) if len(path) <= SHORT_PATH else self._find(path)
        if found is None:
            await self._calls(scope, receive, send)
        else:
            await self._inferences.serve(HttpExchange(scope, receive, send), *found)


def make_calls(operations: Sequence[Operation], authenticate: Authenticate, budget: CallBudget) -> ASGIApp:
    """Every call but inference. `operations`: the more particular path first; those without a handler are inferences,
    which are described like the others."""
    calls = [(route(each, each.handler, authenticate, budget), each) for each in operations if each.handler is not None]
    rest = Starlette(
        routes=[
            *(route for route, _ in calls),
            Route("/openapi.json", openapi.serve(operations, TASKS)),
            *page.routes(),
            *ConsolePage().routes(),
        ],
        exception_handlers={HTTPException: refuser(operations, [route for route, _ in calls])},
    )
    rest.router.redirect_slashes = False
    return BoundedBodies(rest, calls)


def refuser(
    operations: Sequence[Operation], calls: Sequence[Route]
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What puts Starlette's own refusals (no such path, wrong method) into the v2 envelope. It knows no inferences:
    where one is, only the method was wrong; and of several calls at a path it tells the methods of the first alone."""
    inferences = {each.path for each in operations if each.handler is None}
    paths = {each.path for each in operations}

    async def refuse(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers, path = dict(getattr(error, "headers", None) or {}), request.url.path
        if status == 404 and path in inferences:
            status, headers = 405, {"Allow": "POST"}
        elif status == 405 and (
            at := [each.path for each in calls if each.matches(request.scope)[0] is not Match.NONE]
        ):
            methods = {method for each in operations if each.path in at for method in each.methods}
            headers = {"Allow": ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))}
        words = {
            404: describe_nothing(path, paths),
            405: f"{request.method} is not possible at {path}; possible: {headers.get('Allow', 'nothing')}.",
        }
        message = words.get(status) or (error.message if isinstance(error, ModelyardError) else "The request failed.")
        return Response(msgspec.json.encode({"error": message, "output": None}), status, headers, media_type=JSON)

    return refuse
