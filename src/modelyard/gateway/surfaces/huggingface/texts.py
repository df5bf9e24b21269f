"""`/hf/{org}/{model}/embed`, `/embed_sparse`, `/rerank` and `/predict`: vectors, weights of words, rankings and labels,
as text-embeddings-inference answers them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET

from modelyard.errors import InvalidRequest
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.huggingface import (
    EmbedBody,
    EmbedSparseBody,
    HuggingFaceError,
    PredictBody,
    RankedText,
    SparseValue,
    TextsBody,
)
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import ForeignSurface, encode, refuse_task
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome
from modelyard.tasks.base import Task

EMBEDDERS = ("feature-extraction", "sentence-similarity")
RANKER, CLASSIFIER = "text-ranking", "text-classification"
RAW = {"function_to_apply": "none"}


class TextCall(ForeignSurface):
    """What the four have in common: a body of a Struct of their own, a model named by the path."""

    name = "huggingface"
    error_shape = HuggingFaceError
    shape: ClassVar[type[msgspec.Struct]]
    tasks: ClassVar[tuple[str, ...]]

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The body. Raises InvalidRequest for a field that it does not have."""
        body, extras = await self.read_json(http, self.shape)
        for name, value in extras.items():
            known = ", ".join(self.shape.__struct_fields__)
            raise InvalidRequest(field=name, got=value, accepted=f"no such field; one of {known}")
        return UnifiedBody(model_id or "", {}, body)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id not in self.tasks:
            raise refuse_task(task, " or ".join(self.tasks))
        return self.unify(read.asked)

    @abstractmethod
    def unify(self, body: Any) -> Mapping[str, Any]:
        """The unified body."""


class Embed(TextCall):
    """Vectors, always in a list."""

    shape = EmbedBody
    tasks = EMBEDDERS
    names: ClassVar[Mapping[str, str]] = {"text": "inputs"}

    def unify(self, body: EmbedBody) -> Mapping[str, Any]:
        """The unified body."""
        return unify_texts(
            body, sparse=False, normalize=body.normalize, **({"dimensions": body.dimensions} if body.dimensions else {})
        )

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The vectors."""
        return Payload(encode(outcome.output))


class EmbedSparse(TextCall):
    """Weights of words, always in a list for each text."""

    shape = EmbedSparseBody
    tasks = EMBEDDERS
    names: ClassVar[Mapping[str, str]] = {"text": "inputs"}

    def unify(self, body: EmbedSparseBody) -> Mapping[str, Any]:
        """The unified body."""
        return unify_texts(body, sparse=True)

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The weights, in the order of the vocabulary."""
        by_index = (sorted(words, key=itemgetter("index")) for words in outcome.output)
        return Payload(
            encode([[SparseValue(index=word["index"], value=word["value"]) for word in words] for words in by_index])
        )


def unify_texts(body: EmbedBody | EmbedSparseBody, **params: Any) -> Mapping[str, Any]:
    """The unified body of texts to embed, with more `params`."""
    named = {"prompt_name": body.prompt_name} if body.prompt_name else {}
    texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    return {"text": texts, "params": {"truncate": body.truncate, **named, **params}}


class RerankTexts(TextCall):
    """A ranking."""

    shape = TextsBody
    tasks = (RANKER,)
    names: ClassVar[Mapping[str, str]] = {"documents": "texts"}

    def unify(self, body: TextsBody) -> Mapping[str, Any]:
        """The unified body."""
        return {"query": body.query, "documents": body.texts, "params": RAW if body.raw_scores else {}}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The texts, best first."""
        body: TextsBody = request.asked
        ranked = [
            RankedText(
                index=each["index"],
                score=each["score"],
                text=body.texts[each["index"]] if body.return_text else UNSET,
            )
            for each in outcome.output[: body.top_n]
        ]
        return Payload(encode(ranked))


class Predict(TextCall):
    """Labels, of one text or pair or of several."""

    shape = PredictBody
    tasks = (CLASSIFIER,)
    names: ClassVar[Mapping[str, str]] = {"text": "inputs", "text_pair": "inputs"}

    def unify(self, body: PredictBody) -> Mapping[str, Any]:
        """The unified body. Raises InvalidRequest."""
        params: dict[str, Any] = dict(RAW) if body.raw_scores else {}
        if isinstance(body.inputs, str):
            return {"text": body.inputs, "params": params}
        if all(isinstance(each, str) for each in body.inputs) and len(body.inputs) == 2:
            text, pair = body.inputs
            return {"text": text, "text_pair": pair, "params": params}
        if any(isinstance(each, str) or len(each) not in (1, 2) for each in body.inputs):
            accepted = "a text, a pair of texts, or a list of lists of one or two texts"
            raise InvalidRequest(field="inputs", got=body.inputs, accepted=accepted)
        rows = [each[0] if len(each) == 1 else list(each) for each in body.inputs]
        return {"text": rows, "params": params}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The labels with their scores, best first; a list of such lists for several."""
        return Payload(encode(outcome.output))
