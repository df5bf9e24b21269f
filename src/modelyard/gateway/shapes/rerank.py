"""What `/v1/rerank`, `/v2/rerank` and `/v1/score` read and answer, in Cohere's and vLLM's shapes. Only describes.

Source: https://docs.cohere.com/reference/rerank, and the types of the package `cohere`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from msgspec import UNSET, Meta, UnsetType

from modelyard.gateway import problem, remedies
from modelyard.gateway.shapes.base import ErrorBody, Fallbacks, SnakeShape, described
from modelyard.gateway.shapes.openai.base import CompletionUsage

MOST_DOCUMENTS = 1024
TIMEOUT = described("Seconds that the request may take in all.", accepted="a number of seconds above 0")


class RerankError(ErrorBody, frozen=True, kw_only=True):
    """What is wrong, as Cohere's API says it."""

    message: Annotated[str, described("What is wrong, what was got, what to do.")]
    id: Annotated[str, described("Names the request in the server's log.")]
    remedies = remedies.OPENAI

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Self:
        """The body of an error."""
        return cls(message=problem.message_of(error, request_id, cls.remedies), id=request_id)

    @classmethod
    def status_of(cls, error: BaseException) -> int:
        """A wrong field is a 400 here."""
        status = problem.status_of(error)
        return 400 if status == 422 else status


class TextDocument(SnakeShape, frozen=True, kw_only=True):
    """A document."""

    text: Annotated[str, described("What it says.")]


class RerankBody(SnakeShape, frozen=True, kw_only=True):
    """A query, and the documents to rank by how well they answer it."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    models: Fallbacks = None
    query: Annotated[str, Meta(min_length=1), described("What is looked for.", accepted="a text that is not empty")]
    documents: Annotated[
        list[str | TextDocument],
        Meta(min_length=1, max_length=MOST_DOCUMENTS),
        described("The documents.", accepted='a list of 1 to 1024 documents, each a text or {"text": "..."}'),
    ]
    top_n: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        described("How many documents to answer, best first; by default all."),
    ] = None
    return_documents: Annotated[bool, described("Whether each place has its document beside it.")] = False
    timeout: Annotated[float | None, TIMEOUT] = None


class RerankedDocument(SnakeShape, frozen=True, kw_only=True):
    """A document's place in the ranking."""

    index: Annotated[int, described("The document's place in the request, from 0.")]
    relevance_score: Annotated[float, described("How well it answers, as the model says.")]
    document: Annotated[TextDocument | UnsetType, described("The document, with return_documents.")] = UNSET


class ApiVersion(SnakeShape, frozen=True, kw_only=True):
    """Which of the API's versions answers."""

    version: Annotated[str, described("1 or 2, as the path has it.")]


class BilledUnits(SnakeShape, frozen=True, kw_only=True):
    """What was asked for, in Cohere's units."""

    search_units: Annotated[int, described("Always 1: a query with its documents.")] = 1


class RerankMeta(SnakeShape, frozen=True, kw_only=True):
    """What is said beside the ranking."""

    api_version: Annotated[ApiVersion, described("The version.")]
    billed_units: Annotated[BilledUnits, described("The units.")]


class Reranking(SnakeShape, frozen=True, kw_only=True):
    """The documents, best first."""

    id: Annotated[str, described("Names the request, as x-request-id does.")]
    model: Annotated[str, described("The model, as it was asked for.")]
    results: Annotated[Sequence[RerankedDocument], described("The documents, best first.")]
    usage: Annotated[CompletionUsage, described("The tokens that were read.")]
    meta: Annotated[RerankMeta, described("What Cohere's clients look at.")]


class ScoreBody(SnakeShape, frozen=True, kw_only=True):
    """A text, and those to score it against."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    models: Fallbacks = None
    text_1: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[list[str], Meta(min_length=1, max_length=1)],
        described("The text that the others are scored against.", accepted="one text that is not empty"),
    ]
    text_2: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=MOST_DOCUMENTS)],
        described("The other texts.", accepted="a text, or a list of 1 to 1024"),
    ]
    timeout: Annotated[float | None, TIMEOUT] = None


class Score(SnakeShape, frozen=True, kw_only=True):
    """One pair's score."""

    index: Annotated[int, described("The place of the second text, from 0.")]
    object: Annotated[Literal["score"], described("What this is.")] = "score"
    score: Annotated[float, described("How well the two fit, as the model says.")]


class Scores(SnakeShape, frozen=True, kw_only=True):
    """A score for each pair, in the order of the texts."""

    id: Annotated[str, described("Names the request, as x-request-id does.")]
    object: Annotated[Literal["list"], described("What this is.")] = "list"
    created: Annotated[int, described("Seconds since 1970.")]
    model: Annotated[str, described("The model, as it was asked for.")]
    data: Annotated[Sequence[Score], described("The scores.")]
    usage: Annotated[CompletionUsage, described("The tokens that were read.")]
