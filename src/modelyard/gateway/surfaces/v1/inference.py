"""The v1 surface's inference, `POST /model/run`: runs a loaded model; answers in the library's own pipeline shapes."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.deferred import as_sent
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.base import V1Error
from modelyard.gateway.surfaces.base import Payload, Surface, UnifiedBody
from modelyard.gateway.uploads import read_body
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome
from modelyard.tasks import body as bodies
from modelyard.tasks.base import Task

MADE_KEYS = {"image": "output_png", "audio": "output_wav", "video": "output_mp4"}
"""What a task makes → the key under which v1 gives it, in base64."""


class V1Inference(Surface):
    """Bare bodies, plain text streams, and only models that were loaded."""

    name = "v1"
    stream_type = "text/plain; charset=utf-8"
    error_shape = V1Error
    makes_clusters = False

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The unified body, which names the model too."""
        body = await read_body(http, self._max_body_bytes)
        return UnifiedBody(model_of(body), body)

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """JSON; of a stream only what was made, after a line for each step."""
        if request.inference.stream and request.task.makes is None:
            return Payload(b"")
        return Payload(await asyncio.to_thread(encode_output, request, outcome.output))


def encode_output(request: ModelRequest, output: Any) -> bytes:
    """An output as JSON in the shape of the library's own pipelines. May be long: for a thread."""
    return msgspec.json.encode({"output": pipeline_shape(request, output)}, enc_hook=as_sent)


def pipeline_shape(request: ModelRequest, output: Any) -> Any:
    """An output as users of v1 read it; tasks without a shape of their own answer as in v2."""
    task = request.task
    if task.makes is not None:
        return {MADE_KEYS[task.makes]: base64.b64encode(output["data"]).decode("ascii")}
    if (name := task.pipeline_key) is not None:
        return [{name: text} for text in (output if isinstance(output, list) else [output])]
    if isinstance(output, dict) and output.get("role") == "assistant":
        return [{"generated_text": [*messages_of(task, request.body), output]}]
    return output


def messages_of(task: Task, body: Mapping[str, Any]) -> list[Any]:
    """The conversation that was sent, in the client's own words; a text stands for one user message."""
    fields = bodies.spread(task, body)
    return list(fields.get("messages") or [{"role": "user", "content": fields.get("text")}])


def model_of(body: Mapping[str, Any]) -> str:
    """The model a body names. Raises InvalidRequest."""
    model_id = body.get("model")
    if not isinstance(model_id, str):
        raise InvalidRequest(field="model", got=model_id, accepted="org/name")
    return model_id
