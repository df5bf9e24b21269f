"""text-classification: how well each of the model's labels fits a text, two texts together, or a page's words.

Long texts are cut at the model's limit; of two, the longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Params, Task, attempt
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.encoding import Row, forward_each, read_logits
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
from modelyard.tasks.shared.word_boxes import (
    PageOrNone,
    check_boxes,
    encode_page,
    name_text,
    page_of,
    reads_places,
    with_places,
)


class TextClassificationInputs(TextOrPairInputs, frozen=True, kw_only=True):
    """The text to classify, or several, each with a second one where the model reads two; or a page."""

    word_boxes: PageOrNone = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for second texts that do not fit, and for boxes that are none."""
        super().__post_init__()
        check_boxes(self.word_boxes)


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


def classify(
    model: Model, rows: Sequence[tuple[Call[Any, TextClassificationParams], TextOrPair]]
) -> list[list[Label] | InvalidRequest]:
    """The labels of each row's text or texts, or page; what is wrong with it, in its place."""
    if reads_places(model):
        encoded = [attempt(encode_layout, model, call, pair) for call, pair in rows]
    else:
        encoded = [*encode_pairs(model, [pair for _, pair in rows])]
    logits = iter(forward_each(model, [row for row in encoded if not isinstance(row, InvalidRequest)], read_logits))
    return [
        row
        if isinstance(row, InvalidRequest)
        else best_labels(to_scores(next(logits), model, call.params.function_to_apply), model.labels, call.params.top_k)
        for row, (call, _) in zip(encoded, rows, strict=True)
    ]


def encode_layout(model: Model, call: Call[Any, Any], pair: TextOrPair) -> Row:
    """One row for a model that reads where words are: of a page, else of a text. Raises InvalidRequest."""
    page = None if pair.pair else page_of(model, call, pair.text)
    if page is None:
        return with_places(model, encode_pairs(model, [pair])[0])
    return encode_page(model, page, limit=model.max_length, shared=0)[0].row


TASK = Task(
    id="text-classification",
    summary="Say which of the model's labels fit a text, or two texts together.",
    inputs=TextClassificationInputs,
    params=TextClassificationParams,
    output=TextClassificationOutput,
    run=run,
    heads=("sequence-classification",),
    example={"text": "I love this film!"},
    prepare=name_text,
    length=pair_length,
    sizes=sizes.texts,
    has_variants=True,
)
