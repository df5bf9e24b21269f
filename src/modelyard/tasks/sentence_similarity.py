"""sentence-similarity: vectors that are close when sentences mean the same, or the similarities themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.protocol import Outcome, Usage
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.embedding import (
    Embedded,
    EmbeddingInputs,
    EmbeddingParams,
    Vectors,
    answer_embedded,
    embed_each,
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
    compared = [(call, sentence) for call in calls for sentence in call.inputs.sentences or ()]
    others = iter(embed_each(model, compared))
    outcomes = answer_each_row(calls, texts_of, lambda rows: embed_each(model, rows), answer_embedded)
    return [
        compare(outcome, [next(others) for _ in call.inputs.sentences or ()])
        for call, outcome in zip(calls, outcomes, strict=True)
    ]


def compare(own: Outcome | ModelyardError, others: Sequence[Embedded | ModelyardError]) -> Outcome | ModelyardError:
    """The call's vector, or its cosine similarity with each of `others`; the first error where there is one."""
    if isinstance(own, ModelyardError) or not others:
        return own
    embedded = [each for each in others if isinstance(each, Embedded)]
    if (error := next((each for each in others if isinstance(each, ModelyardError)), None)) is not None:
        return error
    counts = [own.usage.prompt_tokens, *(each.tokens for each in embedded)]
    known = [count for count in counts if count is not None]
    usage = Usage(prompt_tokens=sum(known) if len(known) == len(counts) else None)
    return Outcome([cosine(own.output, each.vector) for each in embedded], usage)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two vectors, -1 to 1; 0 when either has no length."""
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
