"""text-ranking: how well each document answers a query, by a cross-encoder, which reads both together.

Long pairs are cut at the model's limit, the longer text first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.protocol import Outcome, Usage
from modelyard.tasks.base import Call, Inputs, Params, Task, attempt
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model, TextModel
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.cross_encoder import CrossEncoder, read_cross_encoder
from modelyard.tasks.shared.encoding import Row, encode, forward_each
from modelyard.tasks.shared.scores import sigmoid
from modelyard.tasks.shared.texts import MOST_TEXTS, answer_each_row, shortened


class TextRankingInputs(Inputs, frozen=True, kw_only=True):
    """A query, and the documents that may answer it."""

    query: Annotated[str, Meta(min_length=1, description="what is looked for")]
    documents: Annotated[
        list[str],
        Meta(min_length=1, max_length=MOST_TEXTS, description="a list of 1 to 1024 texts to rank by how well they fit"),
    ]


def listed(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with a single document as a list of one, as a form with one document has it."""
    documents = fields.get("documents")
    return {**fields, "documents": [documents]} if isinstance(documents, str) else fields


class TextRankingParams(Params, frozen=True, kw_only=True):
    """How much to answer, and how the scores are made."""

    top_k: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="how many documents to answer, best first; all by default")
    ] = None
    top_n: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="the same as top_k, as other ranking APIs call it")
    ] = None
    return_documents: Annotated[bool, Meta(description="true: each place has the document's text beside it")] = False
    function_to_apply: Annotated[
        Literal["sigmoid", "none"] | None,
        Meta(description="sigmoid (scores of 0 to 1) or none (the model's own output); by default as the model says"),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest when the two names of one setting have different values."""
        if None not in (self.top_k, self.top_n) and self.top_k != self.top_n:
            raise InvalidRequest(field="params.top_n", got=self.top_n, accepted=f"the same as top_k, {self.top_k}")

    @property
    def most(self) -> int | None:
        """How many documents to answer; None: all."""
        return self.top_k or self.top_n


class RankedDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document's place in the ranking."""

    index: Annotated[int, means("index", "the document's place in the request, from 0", of="documents")]
    score: Annotated[float, means("score", "how well it fits; 0 to 1, or the model's own scale")]
    text: Annotated[str | None, means("text", "the document, with return_documents")] = None


TextRankingOutput = list[RankedDocument]
"""The documents, best first; equal ones in the request's order."""


class Scored(NamedTuple):
    """One document's score, and how many tokens were read for it."""

    score: float
    tokens: int


def run(model: Model | TextModel, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Ranks each call's documents. The documents of all calls share batches."""
    if isinstance(model, TextModel):
        return [attempt(rank_texts, model, call) for call in calls]
    if len(model.labels) != 1:
        return [no_ranking(model) for _ in calls]
    folder = read_cross_encoder(model.path)
    return answer_each_row(
        calls, lambda call: call.inputs.documents, lambda rows: score_each(model, folder, rows), rank
    )


def no_ranking(model: Model) -> InvalidRequest:
    """The error for a model that has more to say of a pair than one score."""
    return InvalidRequest(
        f"This model does not rank: it gives {len(model.labels)} scores for a pair, and ranking needs one. "
        "Choose a model of the task text-ranking."
    )


def score_each(
    model: Model, folder: CrossEncoder, rows: Sequence[tuple[Call[TextRankingInputs, TextRankingParams], str]]
) -> list[Scored]:
    """Each row's document scored against its call's query."""
    queries = [folder.prepare(folder.prompt + call.inputs.query) for call, _ in rows]
    documents = [folder.prepare(document) for _, document in rows]
    limits = [limit for limit in (folder.max_length, model.max_length) if limit]
    settings: dict[str, Any] = {"truncation": True, "max_length": min(limits)} if limits else {}
    encoded = encode(model, queries, documents, **settings)
    outputs = forward_each(model, encoded, read_output)
    return [
        Scored(to_score(output, folder, call.params.function_to_apply), len(row["input_ids"]))
        for output, row, (call, _) in zip(outputs, encoded, rows, strict=True)
    ]


def rank_texts(model: TextModel, call: Call[TextRankingInputs, TextRankingParams]) -> Outcome:
    """A call's documents ranked by a model that reads texts. Of one that is too long its beginning is read. Raises
    InvalidRequest when the query alone is."""
    query, documents = call.inputs.query, list(call.inputs.documents)
    try:
        scores, tokens = model.score_documents(query, documents)
    except InvalidRequest:  # one of them is too long
        each = [score_text(model, query, document) for document in documents]
        scores, tokens = [score for score, _ in each], sum(count for _, count in each)
    finish = call.params.function_to_apply
    outputs = [score if finish == "none" else float(sigmoid(np.asarray(score))) for score in scores]
    return rank(call, [Scored(score, 0 if index else tokens) for index, score in enumerate(outputs)])


def score_text(model: TextModel, query: str, document: str) -> tuple[float, int]:
    """One document's score, and the tokens read for it. Raises InvalidRequest when nothing of it can be read."""
    try:
        scores, tokens = model.score_documents(query, [document])
    except InvalidRequest as error:
        shorter = shortened(document, error)
        if not shorter:
            raise
        return score_text(model, query, shorter)
    return scores[0], tokens


def read_output(outputs: Mapping[str, Array], place: int, _row: Row) -> Array:
    """One pair's output, (1,)."""
    return np.asarray(outputs["logits"][place]).reshape(1)


def to_score(output: Array, folder: CrossEncoder, function: str | None) -> float:
    """The score by `function`, or as the model's folder says."""
    if function == "none":
        return float(output[0])
    return float((sigmoid if function == "sigmoid" else folder.activate)(output)[0])


def rank(call: Call[TextRankingInputs, TextRankingParams], scored: Sequence[Scored]) -> Outcome:
    """The call's documents, best first, and what was read for them."""
    order = sorted(range(len(scored)), key=lambda index: -scored[index].score)
    documents = call.inputs.documents if call.params.return_documents else None
    ranked = [
        RankedDocument(index, scored[index].score, documents[index] if documents else None)
        for index in order[: call.params.most]
    ]
    return Outcome(ranked, Usage(prompt_tokens=sum(each.tokens for each in scored)))


TASK = Task(
    id="text-ranking",
    summary="Rank documents by how well they answer a query.",
    inputs=TextRankingInputs,
    params=TextRankingParams,
    output=TextRankingOutput,
    run=run,
    heads=("sequence-classification",),
    example={
        "query": "Where does Angela live?",
        "documents": ["Angela lives in Paris and works in Berlin.", "The film was a wonderful story."],
    },
    prepare=listed,
    wildcard="query",
    list_wildcard="documents",
    length=lambda call: len(call.inputs.query) + max(map(len, call.inputs.documents)),
    sizes=sizes.queries_with_a_document,
    has_variants=True,
)
