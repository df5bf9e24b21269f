"""text-classification: how well each of the model's labels fits a text, or two texts together.

Long texts are cut at the model's limit; of two, the longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.encoding import forward_each, read_logits
from modelyard.tasks.shared.pairs import (
    TextOrPair,
    TextOrPairInputs,
    answer_pairs,
    encode_pairs,
    pair_length,
    pairs_of,
)
from modelyard.tasks.shared.scores import Label, best_labels, to_scores
from modelyard.tasks.shared.texts import answer_each_row


class TextClassificationInputs(TextOrPairInputs, frozen=True, kw_only=True):
    """The text to classify, or several, each with a second one where the model reads two."""


class TextClassificationParams(Params, frozen=True, kw_only=True):
    """What to do with the scores."""

    top_k: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="how many labels to answer, best first; all by default")
    ] = None
    function_to_apply: Annotated[
        Literal["softmax", "sigmoid", "none"] | None,
        Meta(description="softmax, sigmoid or none; by default what the model was trained with"),
    ] = None


TextClassificationOutput = list[Label | list[Label]]
"""Labels with their scores, best first; one such list per text for a list."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Scores each text, or each two, against the model's labels."""
    return answer_each_row(calls, pairs_of, lambda rows: classify(model, rows), answer_pairs)


def classify(model: Model, rows: Sequence[tuple[Call[Any, TextClassificationParams], TextOrPair]]) -> list[list[Label]]:
    """The labels of each row's text or texts."""
    encoded = encode_pairs(model, [pair for _, pair in rows])
    logits = forward_each(model, encoded, read_logits)
    return [
        best_labels(to_scores(row, model, call.params.function_to_apply), model.labels, call.params.top_k)
        for row, (call, _) in zip(logits, rows, strict=True)
    ]


TASK = Task(
    id="text-classification",
    summary="Say which of the model's labels fit a text, or two texts together.",
    inputs=TextClassificationInputs,
    params=TextClassificationParams,
    output=TextClassificationOutput,
    run=run,
    heads=("sequence-classification",),
    example={"text": "I love this film!"},
    length=pair_length,
    sizes=sizes.texts,
    has_variants=True,
)
