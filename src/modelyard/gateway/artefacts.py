"""`GET /artefacts/{name}`: files that models have made, without a key: the name is what nobody can guess.

Owns the headers they are served with, and what is said of a range that cannot be read; ranges, ETags and HEAD are
Starlette's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from modelyard.errors import InvalidRequest, NotFound
from modelyard.gateway.endpoint import json_response
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.base import Error
from modelyard.gateway.shapes.inference import MADE_TYPES
from modelyard.http.exchange import SAFE, App, Message, Receive, Scope, Send
from modelyard.media.artefacts import GONE, Artefacts

PREFIX = "/artefacts/"
ACCEPTED_RANGES = {400: "bytes of the file, such as bytes=0-1023", 416: "a range within the file"}
"""By the status with which Starlette refuses others."""


async def is_nowhere(name: str) -> None:
    """Where no other server can have a file. Raises NotFound."""
    raise NotFound(GONE)


class ArtefactCalls:
    """Handlers over one folder of artefacts."""

    def __init__(self, artefacts: Artefacts) -> None:
        self._artefacts = artefacts
        self.ensure_here: Callable[[str], Awaitable[None]] = is_nowhere
        """Fetches a file that is not in the folder from the server that has it. Raises NotFound, StoreUnavailable."""

    def operations(self) -> Sequence[Operation]:
        """What can be done with artefacts."""
        return [
            Operation(
                path=PREFIX + "{name}",
                summary="Fetch a file that a model has made, whole or in ranges; no key is needed",
                tag="artefacts",
                handler=self.get,
                public=True,
                answer=None,
                answer_types=MADE_TYPES,
                statuses={206: "The range asked for."},
                failures={
                    400: "The header range cannot be read.",
                    404: "There is no such file, or it has expired.",
                    416: "The file has no such range.",
                    503: "The file is on another server, which could not be asked.",
                },
            )
        ]

    async def get(self, request: Request) -> Response:
        """The file."""
        name = request.path_params["name"]
        try:
            found = await asyncio.to_thread(self._artefacts.get, name)
        except NotFound:
            await self.ensure_here(name)
            found = await asyncio.to_thread(self._artefacts.get, name)
        headers = {
            **SAFE,
            "cache-control": f"private, max-age={found.left_s}, immutable",
            "content-security-policy": "default-src 'none'; sandbox",
            "access-control-allow-origin": "*",
        }
        return RangedFile(found.path, headers=headers, media_type=found.media_type)


class RangedFile(FileResponse):
    """A file, whole or in ranges of bytes. What is wrong with a range is said as every other error is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_refused = False

        async def send_told(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and message["status"] in ACCEPTED_RANGES:
                is_refused = True
                await self._refuse(message, Headers(scope=scope).get("range"))(scope, receive, send)
            elif not is_refused:
                await send(message)

        await super().__call__(without_unknown_range(scope), receive, send_told)

    def _refuse(self, told: Message, asked: str | None) -> Response:
        """The answer to a range that Starlette has refused."""
        status, request_id = told["status"], self.headers["x-request-id"]
        error = InvalidRequest(field="range", got=asked, accepted=ACCEPTED_RANGES[status])
        response = json_response(status, Error.of(error, request_id))
        length = Headers(raw=told["headers"]).get("content-range")
        response.headers.update({"x-request-id": request_id, **({} if length is None else {"content-range": length})})
        return response


def without_unknown_range(scope: Scope) -> Scope:
    """The request, without a range in another unit than bytes. Source: RFC 9110, 14.2: a range whose unit is not known
    is to be ignored."""
    unit, is_told, _ = Headers(scope=scope).get("range", "").partition("=")
    if not is_told or unit.strip().lower() == "bytes":
        return scope
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"range"]}


def serve_own(artefacts: Artefacts, files: App, others: App) -> App:
    """ASGI, where the process that is followed may be on another machine: `files` serves what is in this one's folder,
    `others` everything else."""

    async def is_here(scope: Scope) -> bool:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            return False
        try:
            await asyncio.to_thread(artefacts.get, scope["path"].removeprefix(PREFIX))
        except NotFound:
            return False
        return True

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await (files if await is_here(scope) else others)(scope, receive, send)

    return answer
