"""feature-extraction: a text's embedding, one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.embedding import EmbeddingInputs, EmbeddingParams, Vectors, answer_embedded, embed_each
from modelyard.tasks.shared.texts import answer_each_row, text_length, texts_of


class FeatureExtractionInputs(EmbeddingInputs, frozen=True, kw_only=True):
    """The text to embed, or several."""


class FeatureExtractionParams(EmbeddingParams, frozen=True, kw_only=True):
    """How to make one vector of a text."""


FeatureExtractionOutput = Vectors
"""One flat vector for one text; a list of vectors for a list."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Embeds each text. Long texts are cut at the model's limit."""
    return answer_each_row(calls, texts_of, lambda rows: embed_each(model, rows), answer_embedded)


TASK = Task(
    id="feature-extraction",
    summary="Turn a text into a vector.",
    inputs=FeatureExtractionInputs,
    params=FeatureExtractionParams,
    output=FeatureExtractionOutput,
    run=run,
    heads=("base",),
    example={"text": "The weather is lovely today."},
    length=text_length,
    sizes=sizes.texts,
    has_variants=True,
)
