"""`GET /artefacts/{name}`: files that models have made, without a key: the name is what nobody can guess.

Owns the headers they are served with; ranges, ETags and HEAD are Starlette's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from modelyard.errors import NotFound
from modelyard.gateway import problem
from modelyard.http.exchange import SAFE
from modelyard.media.artefacts import Artefacts

PREFIX = "/artefacts/"


def serve(artefacts: Artefacts) -> Callable[[Request], Awaitable[Response]]:
    """The handler over one folder of artefacts."""

    async def endpoint(request: Request) -> Response:
        try:
            found = await asyncio.to_thread(artefacts.get, request.path_params["name"])
        except NotFound as error:
            return Response(problem.v2_body(error, ""), error.status, media_type=problem.JSON)
        headers = {
            **SAFE,
            "cache-control": f"private, max-age={found.left_s}, immutable",
            "content-security-policy": "default-src 'none'; sandbox",
            "access-control-allow-origin": "*",
        }
        return FileResponse(found.path, headers=headers, media_type=found.media_type)

    return endpoint
