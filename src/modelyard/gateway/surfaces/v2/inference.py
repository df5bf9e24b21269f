"""The v2 surface's inference, `POST /models/v2/{org}/{model}`: the unified body in, one envelope out."""

from __future__ import annotations

from typing import Any

import msgspec

from modelyard.gateway.kept_files import KeptFiles, read_made
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.base import Error
from modelyard.gateway.surfaces.base import Payload, Surface, UnifiedBody
from modelyard.gateway.uploads import read_body
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome


class V2Inference(Surface):
    """`{"error", "output"}`, raw text streams, files as URLs or as themselves."""

    name = "v2"
    stream_type = "text/event-stream; charset=utf-8"
    error_shape = Error

    def __init__(self, kept: KeptFiles, max_body_bytes: int) -> None:
        """`kept`: where files go that clients fetch."""
        self._kept = kept
        self._max_body_bytes = max_body_bytes

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The unified body; the path names the model."""
        body = await read_body(http, self._max_body_bytes)
        return UnifiedBody(model_id or "", body, models=body.get("models"))

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The envelope, or the file itself; of a stream only the URL of what was made, after a line for each step."""
        streams = request.inference.stream
        if request.task.makes is None:
            if outcome.logprobs is None and outcome.raw is None:  # of most answers
                return Payload(b"" if streams else envelope(outcome.output))
            beside = {"logprobs": outcome.logprobs, "provider": outcome.raw}
            told = {name: value for name, value in beside.items() if value is not None}
            return Payload(b"" if streams else envelope(outcome.output, **told))
        made = read_made(outcome.output)
        if not streams and not request.inference.json:
            return Payload(made.data, made.media_type)
        url = await self._kept.url(http, made)
        return Payload(url.encode() if streams else envelope(url))


def envelope(output: Any, **beside: Any) -> bytes:
    """An output in the v2 envelope, and what stands beside it."""
    return msgspec.json.encode({"error": None, "output": output, **beside})
