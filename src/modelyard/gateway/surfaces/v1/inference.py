"""The v1 surface's inference, `POST /model/run`: runs a loaded model; answers in the library's own pipeline shapes.

Owns the shape of its answers and streams. A plain ASGI function, as v2's.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.control.replicas import Supervised
from modelyard.errors import BootFailed
from modelyard.gateway import problem, remedies
from modelyard.gateway.asked import Asked, admit, meter_headers, understand
from modelyard.gateway.exchange import ClientLeft, HttpExchange, Receive, Scope, Send
from modelyard.gateway.requests import new_request_id
from modelyard.gateway.surfaces.v1.calls import LOADED, STATUS, model_of, not_loaded
from modelyard.gateway.uploads import read_body
from modelyard.records.accounts import Key
from modelyard.serving import Services
from modelyard.tasks import body as bodies

STREAM = "text/plain; charset=utf-8"
MADE_KEYS = {"image": "output_png", "audio": "output_wav", "video": "output_mp4"}


class V1:
    """Handlers over one server's services."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._max_body = services.settings.max_body_mb * 1024 * 1024

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /model/run: runs a loaded model. Plain ASGI, as v2's."""
        http = HttpExchange(scope, receive, send)
        headers = {"x-request-id": new_request_id()}
        try:
            await self._run(http, headers)
        except ClientLeft:
            return
        except Exception as error:  # noqa: BLE001 - the border where every error becomes an answer
            problem.note(error, headers["x-request-id"])
            if not http.started:
                payload = msgspec.json.encode(
                    {"error": problem.message_of(error, headers["x-request-id"], remedies.V1)}
                )
                await http.send_json(problem.status_of(error), payload, {**headers, **problem.headers_of(error)})
            # Once the answer has begun, returning without ending it breaks the connection: what is wanted.

    async def _run(self, http: HttpExchange, headers: dict[str, str]) -> None:
        async with admit(self._services, http, headers) as key:
            await self._answer(http, key, headers)

    async def _answer(self, http: HttpExchange, key: Key, headers: dict[str, str]) -> None:
        services = self._services
        body = await read_body(http, self._max_body)
        supervised = self._loaded(key, model_of(body))
        asked = await understand(services, http, supervised.cluster.model_id, body)

        async def sink(text: str) -> None:
            if not http.started:
                await http.start_stream(STREAM, {**headers, **meter_headers(asked.cost, 0)})
            await http.send_chunk(text.encode())

        metered = services.metering.request(headers["x-request-id"], key, asked.card.model_id, asked.cost)
        async with http.until_client_leaves():
            async with metered as work:
                result = await services.forwarder.run(
                    supervised, asked.inference, work, sink if asked.inference.stream else None
                )
            if http.started and asked.task.makes is None:
                await http.end_stream()
                return
            payload = await asyncio.to_thread(encode_output, asked, body, result.output)
            if http.started:  # after a line for each step, the file itself
                await http.send_chunk(payload)
                await http.end_stream()
            else:
                await http.send_json(200, payload, {**headers, **meter_headers(asked.cost, result.took_us)})

    def _loaded(self, key: Key, model_id: str) -> Supervised:
        """The caller's cluster of a model that is loaded. Raises NotFound naming /model/load, BootFailed."""
        supervised = self._services.clusters.find(key.account_id, model_id)
        if supervised is None:
            raise not_loaded(model_id)
        if supervised.failure is not None:
            raise BootFailed(supervised.failure.message)
        if self._status_of(supervised) not in LOADED:
            raise not_loaded(model_id)
        return supervised

    def _status_of(self, supervised: Supervised) -> str:
        return STATUS[self._services.clusters.report(supervised).status]


def encode_output(asked: Asked, body: Mapping[str, Any], output: Any) -> bytes:
    """An output as JSON in the shape of the library's own pipelines."""
    return msgspec.json.encode({"output": pipeline_shape(asked, body, output)})


def pipeline_shape(asked: Asked, body: Mapping[str, Any], output: Any) -> Any:
    """An output as users of v1 read it; tasks without a shape of their own answer as in v2."""
    if asked.task.makes is not None:
        return {MADE_KEYS[asked.task.makes]: base64.b64encode(output["data"]).decode("ascii")}
    if (name := asked.task.pipeline_key) is not None:
        return [{name: text} for text in (output if isinstance(output, list) else [output])]
    if isinstance(output, dict) and output.get("role") == "assistant":
        return [{"generated_text": [*messages_of(asked, body), output]}]
    return output


def messages_of(asked: Asked, body: Mapping[str, Any]) -> list[Any]:
    """The conversation that was sent, in the client's own words; a text stands for one user message."""
    fields = bodies.spread(asked.task, body)
    return list(fields.get("messages") or [{"role": "user", "content": fields.get("text")}])
