"""sentence-similarity: vectors that are close when sentences mean the same, or the similarities themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.protocol import Outcome
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.embedding import (
    Embedded,
    EmbeddingInputs,
    EmbeddingParams,
    Vectors,
    answer_embedded,
    embed_each,
    usage_of,
)
from modelyard.tasks.shared.texts import MOST_TEXTS, answer_each_row, text_length, texts_of


class SentenceSimilarityInputs(EmbeddingInputs, frozen=True, kw_only=True):
    """The sentence or sentences to embed; with `sentences`, the one sentence to compare with them."""

    sentences: Annotated[
        Annotated[list[str], Meta(min_length=1, max_length=MOST_TEXTS)] | None,
        Meta(description="sentences to compare `text` with; the answer is then one similarity, -1 to 1, for each"),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest when several texts are to be compared with several sentences."""
        if self.sentences is not None and not isinstance(self.text, str):
            raise InvalidRequest(field="text", got=self.text, accepted="one text when sentences are given")


class SentenceSimilarityParams(EmbeddingParams, frozen=True, kw_only=True):
    """How to make one vector of a sentence."""


SentenceSimilarityOutput = Vectors
"""One flat vector for one text, a list of vectors for a list; with `sentences`, one similarity for each."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Embeds each text, or compares it. Long texts are cut at the model's limit."""
    return answer_each_row(calls, rows_of, lambda rows: embed_each(model, rows), answer)


def rows_of(call: Call[Any, Any]) -> list[str]:
    """The call's texts, and what they are compared with."""
    return [*texts_of(call), *(call.inputs.sentences or ())]


def answer(call: Call[Any, Any], results: Sequence[Embedded]) -> Outcome:
    """The vectors of the call's texts, or the cosine similarity of its one text with each of its sentences."""
    if call.inputs.sentences is None:
        return answer_embedded(call, results)
    own, *others = results
    return Outcome([cosine(own.vector, each.vector) for each in others], usage_of(results))


def cosine(one: Array, other: Array) -> float:
    """The cosine of the angle between two vectors, -1 to 1; 0 when either has no length."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.dot(one, other)) / lengths if lengths else 0.0


TASK = Task(
    id="sentence-similarity",
    summary="Turn sentences into vectors that can be compared, or compare them.",
    inputs=SentenceSimilarityInputs,
    params=SentenceSimilarityParams,
    output=SentenceSimilarityOutput,
    run=run,
    heads=("base",),
    example={"text": ["That is a happy person.", "That is a very happy person."]},
    length=text_length,
    sizes=sizes.texts,
    has_variants=True,
)
