"""`POST /v1/embeddings`: a vector for each text, as numbers or as bytes in base64."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.openai.base import CompletionUsage
from modelyard.gateway.shapes.openai.embeddings import FORMS, MOST_INPUTS, Embedding, EmbeddingBody, Embeddings
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import encode, refuse_task, timing
from modelyard.gateway.surfaces.openai.base import OpenAISurface
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome
from modelyard.records.providers import EMBED
from modelyard.tasks.base import Task

TASKS = ("feature-extraction", "sentence-similarity")


class Asked(msgspec.Struct, frozen=True):
    """A request as it is answered."""

    body: EmbeddingBody
    extras: Mapping[str, Any]


class EmbeddingCalls(OpenAISurface):
    """See the module."""

    asks = EMBED
    names: ClassVar[Mapping[str, str]] = {"text": "input"}

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The texts."""
        body, extras = await self.read_json(http, EmbeddingBody)
        return UnifiedBody(body.model, timing(body.timeout), Asked(body, extras), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface. Vectors have length 1, as OpenAI's have, unless the request says otherwise; those of models that
        weigh words have a value for each."""
        if task.id not in TASKS:
            raise refuse_task(task, " or ".join(TASKS))
        body, extras = read.asked.body, read.asked.extras
        params = {"normalize": True, **({} if task.closed else {"sparse": False}), **extras}
        if body.dimensions is not None:
            params["dimensions"] = body.dimensions
        return {"text": texts_of(body.input), "params": params}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The vectors. May be many: on a thread."""
        return Payload(await asyncio.to_thread(encode_vectors, request.asked.body, outcome))


def texts_of(given: str | list[Any]) -> list[str | list[int]]:
    """The texts, each a string or the ids of its tokens. Raises InvalidRequest."""
    if isinstance(given, str):
        return [given]
    if all(isinstance(each, int) for each in given):
        return [given]
    if any(isinstance(each, int) for each in given):
        raise InvalidRequest(field="input", got=given, accepted=FORMS)
    if len(given) > MOST_INPUTS:
        raise InvalidRequest(field="input", got=f"a list of {len(given)}", accepted=f"at most {MOST_INPUTS} texts")
    return given


def encode_vectors(body: EmbeddingBody, outcome: Outcome) -> bytes:
    """The answer as JSON."""
    read = outcome.usage.prompt_tokens or 0
    show = to_base64 if body.encoding_format == "base64" else list
    data = [Embedding(index=at, embedding=show(vector)) for at, vector in enumerate(outcome.output)]
    usage = CompletionUsage(prompt_tokens=read, total_tokens=read)
    return encode(Embeddings(data=data, model=body.model, usage=usage))


def to_base64(vector: list[float]) -> str:
    """A vector as 32-bit floats, little-endian, in base64."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")
