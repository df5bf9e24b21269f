"""`POST /v1/rerank`, `/v2/rerank`, `/rerank`, `/v1/score`: documents are ranked, or pairs of texts are scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET

from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.openai.base import CompletionUsage
from modelyard.gateway.shapes.rerank import (
    ApiVersion,
    BilledUnits,
    RerankBody,
    RerankedDocument,
    RerankError,
    Reranking,
    RerankMeta,
    Score,
    ScoreBody,
    Scores,
    TextDocument,
)
from modelyard.gateway.surfaces.base import Payload, Surface, UnifiedBody
from modelyard.gateway.surfaces.foreign import ForeignSurface, encode, now, refuse_task, timing
from modelyard.gateway.surfaces.inference import HEADERS, REQUEST_HEADERS
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome, Usage
from modelyard.tasks.base import Task

TASK = "text-ranking"
VERSIONS = {"/v1/rerank": "1", "/v2/rerank": "2", "/rerank": "2"}
"""Where rankings are asked for, and which version of the API that is."""
SCORE = "/v1/score"


class Asked(msgspec.Struct, frozen=True):
    """A request as it is answered."""

    body: Any
    extras: Mapping[str, Any]


class Rerank(ForeignSurface):
    """See the module."""

    name = "rerank"
    error_shape = RerankError
    names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, max_body_bytes: int, version: str) -> None:
        """`version`: of the API, as its path has it."""
        super().__init__(max_body_bytes)
        self._version = version

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The query and its documents."""
        body, extras = await self.read_json(http, RerankBody)
        return UnifiedBody(body.model, timing(body.timeout), Asked(body, extras), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id != TASK:
            raise refuse_task(task, TASK)
        body, extras = read.asked.body, read.asked.extras
        params = {**extras, **({} if body.top_n is None else {"top_n": body.top_n})}
        return {"query": body.query, "documents": [text_of(each) for each in body.documents], "params": params}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The ranking."""
        body: RerankBody = request.asked.body
        results = [
            RerankedDocument(
                index=each["index"],
                relevance_score=each["score"],
                document=TextDocument(text=text_of(body.documents[each["index"]])) if body.return_documents else UNSET,
            )
            for each in outcome.output
        ]
        meta = RerankMeta(api_version=ApiVersion(version=self._version), billed_units=BilledUnits())
        usage = show_read(outcome.usage)
        return Payload(encode(Reranking(id=request.id, model=body.model, results=results, usage=usage, meta=meta)))


class ScoreCall(ForeignSurface):
    """Pairs of one text with others."""

    name = "rerank"
    error_shape = RerankError
    names: ClassVar[Mapping[str, str]] = {"query": "text_1", "documents": "text_2"}

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The texts."""
        body, extras = await self.read_json(http, ScoreBody)
        return UnifiedBody(body.model, timing(body.timeout), Asked(body, extras), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id != TASK:
            raise refuse_task(task, TASK)
        body: ScoreBody = read.asked.body
        query = body.text_1 if isinstance(body.text_1, str) else body.text_1[0]
        documents = [body.text_2] if isinstance(body.text_2, str) else body.text_2
        return {"query": query, "documents": documents, "params": dict(read.asked.extras)}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The scores, in the order of the texts."""
        scores = sorted(outcome.output, key=lambda each: int(each["index"]))
        data = [Score(index=each["index"], score=each["score"]) for each in scores]
        answer = Scores(
            id=request.id, created=now(), model=request.asked.body.model, data=data, usage=show_read(outcome.usage)
        )
        return Payload(encode(answer))


def text_of(document: str | TextDocument) -> str:
    """What a document says."""
    return document if isinstance(document, str) else document.text


def show_read(usage: Usage) -> CompletionUsage:
    """What an inference read that makes nothing."""
    read = usage.prompt_tokens or 0
    return CompletionUsage(prompt_tokens=read, total_tokens=read)


def rerank_surfaces(max_body_bytes: int) -> dict[str, Surface]:
    """By path."""
    rankings: dict[str, Surface] = {path: Rerank(max_body_bytes, version) for path, version in VERSIONS.items()}
    return {**rankings, SCORE: ScoreCall(max_body_bytes)}


def describe(path: str, summary: str, body: type[msgspec.Struct], answer: Any, example: dict[str, Any]) -> Operation:
    """One call."""
    return Operation(
        methods=("POST",),
        path=path,
        summary=summary,
        tag="rerank",
        body=body,
        answer=answer,
        headers=HEADERS,
        request_headers=REQUEST_HEADERS,
        error=RerankError,
        failures={400: "The body is not valid JSON, or a field is wrong: the message names it."},
        tasks=(TASK,),
        examples={"example": {"summary": summary, "value": example}},
    )


DOCUMENTS = ["Paris is the capital of France.", "Bread is made of flour."]
QUERY = "What is the capital of France?"
RERANK_INFERENCES = (
    *(
        describe(
            path,
            "Rank documents by how well they answer a query, as Cohere's API does",
            RerankBody,
            Reranking,
            {"model": "tiny/ranker", "query": QUERY, "documents": DOCUMENTS, "top_n": 1},
        )
        for path in VERSIONS
    ),
    describe(
        SCORE,
        "Score pairs of texts",
        ScoreBody,
        Scores,
        {"model": "tiny/ranker", "text_1": QUERY, "text_2": DOCUMENTS},
    ),
)
