"""`POST /models/v2/{org}/{model}`: the unified body in, one envelope `{"error", "output"}` out.

Owns the shape of its answers and streams. A plain ASGI function: this is the hot path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.errors import InferenceFailed
from modelyard.gateway import artefacts, problem
from modelyard.gateway.asked import admit, meter_headers, understand
from modelyard.gateway.exchange import ClientLeft, HttpExchange, Receive, Scope, Send
from modelyard.gateway.requests import new_request_id
from modelyard.gateway.uploads import read_body
from modelyard.media.media import Made
from modelyard.records.accounts import Key
from modelyard.serving import Services

STREAM = "text/event-stream; charset=utf-8"


class V2:
    """Handlers over one server's services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._max_body = services.settings.max_body_mb * 1024 * 1024

    async def infer(self, scope: Scope, receive: Receive, send: Send, model_id: str) -> None:
        """POST: runs the model. Plain ASGI: this is the hot path."""
        http = HttpExchange(scope, receive, send)
        headers = {"x-request-id": new_request_id()}
        try:
            await self._infer(http, model_id, headers)
        except ClientLeft:
            return
        except Exception as error:  # noqa: BLE001 - the border where every error becomes an answer
            status, payload, more = problem.v2_answer(error, headers["x-request-id"])
            if not http.started:
                await http.send_json(status, payload, {**headers, **more})
            # Once the answer has begun, returning without ending it breaks the connection: what is wanted.

    async def _infer(self, http: HttpExchange, model_id: str, headers: dict[str, str]) -> None:
        async with admit(self._services, http, headers) as key:
            await self._answer(http, key, model_id, headers)

    async def _answer(self, http: HttpExchange, key: Key, model_id: str, headers: dict[str, str]) -> None:
        services = self._services
        asked = await understand(services, http, model_id, await read_body(http, self._max_body))
        task, inference, cost = asked.task, asked.inference, asked.cost
        supervised = await services.clusters.ensure(key.account_id, model_id)
        if supervised.failure is not None:
            services.reconciler.revive(supervised.cluster.id)

        async def sink(text: str) -> None:
            if not http.started:
                await http.start_stream(STREAM, {**headers, **meter_headers(cost, 0)})
            await http.send_chunk(text.encode())

        metered = services.metering.request(headers["x-request-id"], key, model_id, cost)
        async with http.until_client_leaves():
            async with metered as work:
                result = await services.forwarder.run(supervised, inference, work, sink if inference.stream else None)
            headers |= meter_headers(cost, result.took_us)
            if task.makes is not None and inference.stream:  # after a line for each step, where the file is
                await sink(await self._keep(http, read_made(result.output)))
            if http.started:
                await http.end_stream()
            elif task.makes is not None:
                await self._send_made(http, read_made(result.output), headers, as_bytes=not inference.json)
            else:
                await http.send_json(200, envelope(result.output), headers)

    async def _send_made(self, http: HttpExchange, made: Made, headers: Mapping[str, str], *, as_bytes: bool) -> None:
        """Answers with the file itself, or with where it can be fetched."""
        if as_bytes:
            await http.send_bytes(made.media_type, made.data, headers)
        else:
            await http.send_json(200, envelope(await self._keep(http, made)), headers)

    async def _keep(self, http: HttpExchange, made: Made) -> str:
        """Keeps a file for a while; the URL it can be fetched from."""
        name = await asyncio.to_thread(self._services.artefacts.keep, made.data, made.media_type)
        base = self._services.settings.public_url.rstrip("/") or http.base_url
        return f"{base}{artefacts.PREFIX}{name}"


def envelope(output: Any, **beside: Any) -> bytes:
    """An output in the v2 envelope."""
    return msgspec.json.encode({"error": None, "output": output, **beside})


def read_made(output: Any) -> Made:
    """The media that a worker answered with. Raises InferenceFailed when it is none."""
    try:
        return msgspec.convert(output, Made)
    except msgspec.ValidationError as error:
        raise InferenceFailed(f"The model made no media: {error}") from error
