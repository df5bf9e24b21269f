"""The v2 surface's inference, `POST /models/v2/{org}/{model}`: the unified body in, one envelope out."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from modelyard.errors import InferenceFailed
from modelyard.gateway import artefacts
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.base import Error
from modelyard.gateway.surfaces.base import Payload, Surface, UnifiedBody
from modelyard.gateway.uploads import read_body
from modelyard.http.exchange import HttpExchange
from modelyard.media.artefacts import Artefacts
from modelyard.media.media import Made
from modelyard.protocol import Outcome


class V2Inference(Surface):
    """`{"error", "output"}`, raw text streams, files as URLs or as themselves."""

    name = "v2"
    stream_type = "text/event-stream; charset=utf-8"
    error_shape = Error

    def __init__(self, kept: Artefacts, max_body_bytes: int, public_url: str) -> None:
        """`public_url`: where files are fetched from; empty: where the request came to."""
        self._artefacts = kept
        self._max_body_bytes = max_body_bytes
        self._public_url = public_url.rstrip("/")

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The unified body; the path names the model."""
        return UnifiedBody(model_id or "", await read_body(http, self._max_body_bytes))

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The envelope, or the file itself; of a stream only the URL of what was made, after a line for each step."""
        streams = request.inference.stream
        if request.task.makes is None:
            return Payload(b"" if streams else envelope(outcome.output))
        made = read_made(outcome.output)
        if not streams and not request.inference.json:
            return Payload(made.data, made.media_type)
        url = await self._keep(http, made)
        return Payload(url.encode() if streams else envelope(url))

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """The text itself."""
        return text.encode()

    async def _keep(self, http: HttpExchange, made: Made) -> str:
        """Keeps a file for a while; the URL it can be fetched from."""
        name = await asyncio.to_thread(self._artefacts.keep, made.data, made.media_type)
        return f"{self._public_url or http.base_url}{artefacts.PREFIX}{name}"


def envelope(output: Any, **beside: Any) -> bytes:
    """An output in the v2 envelope, and what stands beside it."""
    return msgspec.json.encode({"error": None, "output": output, **beside})


def read_made(output: Any) -> Made:
    """The media that a worker answered with. Raises InferenceFailed when it is none."""
    try:
        return msgspec.convert(output, Made)
    except msgspec.ValidationError as error:
        raise InferenceFailed(f"The model made no media: {error}") from error
