"""zero-shot-classification: which of the request's own labels fit a text, by a model that judges inference.

Each label becomes a hypothesis ("This example is {label}."); its score is how strongly the text entails it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.candidates import CandidateLabels, check_template, split_labels
from modelyard.tasks.shared.encoding import encode, forward_each, read_logits
from modelyard.tasks.shared.scores import softmax
from modelyard.tasks.shared.texts import TextInputs, answer_each_text, text_length


class ZeroShotClassificationInputs(TextInputs, frozen=True, kw_only=True):
    """The text to classify, or several, and the labels to choose from."""

    candidate_labels: CandidateLabels


class ZeroShotClassificationParams(Params, frozen=True, kw_only=True):
    """How labels become hypotheses, and whether they exclude each other."""

    hypothesis_template: Annotated[
        str, Meta(description="the sentence that says a label fits, with {} where the label goes")
    ] = "This example is {}."
    multi_label: Annotated[
        bool, Meta(description="true: each label is scored for itself; false: the scores add up to 1")
    ] = False

    def __post_init__(self) -> None:
        """Raises InvalidRequest when the label would not show in the hypothesis."""
        check_template(self.hypothesis_template)


class ZeroShotAnswer(msgspec.Struct, frozen=True):
    """The text, and the labels with their scores, best first."""

    sequence: Annotated[str, means("text", "the text")]
    labels: Annotated[list[str], means("label", "the labels, best first")]
    scores: Annotated[list[float], means("score", "their scores, in the same order")]


ZeroShotClassificationOutput = ZeroShotAnswer | list[ZeroShotAnswer]
"""The text's labels, best first; a list for several texts."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Scores each text against its call's labels. A text too long for the model is cut, hypotheses are not."""
    try:
        judged = judgements(model)
    except InvalidRequest as error:
        return [error for _ in calls]
    return answer_each_text(calls, lambda rows: classify(model, rows, *judged))


def judgements(model: Model) -> tuple[int, int]:
    """The model's outputs for entailment and contradiction. Raises InvalidRequest when it has none."""
    names = {label.lower(): index for index, label in model.labels.items()}
    entails = next((index for name, index in names.items() if name.startswith("entail")), None)
    if entails is None or len(names) < 2:
        raise InvalidRequest(
            f"This model does not judge inference: its labels are {', '.join(names)}, none of them entailment. "
            "Choose a model of the task zero-shot-classification."
        )
    opposite = ("contra", "not_entail", "not entail")
    contradicts = next((index for name, index in names.items() if name.startswith(opposite)), None)
    return entails, contradicts if contradicts is not None else (len(names) - 1 if entails == 0 else 0)


def classify(
    model: Model, rows: Sequence[tuple[Call[Any, Any], str]], entails: int, contradicts: int
) -> list[ZeroShotAnswer | InvalidRequest]:
    """Each row's answer. All pairs of all rows share batches."""
    labels = [split_labels(call.inputs.candidate_labels) for call, _ in rows]
    texts = [text for (_, text), own in zip(rows, labels, strict=True) for _ in own]
    hypotheses = [
        call.params.hypothesis_template.replace("{}", label)
        for (call, _), own in zip(rows, labels, strict=True)
        for label in own
    ]
    try:
        encoded = encode(model, texts, hypotheses, truncation="only_first" if model.max_length else False)
    except InvalidRequest:
        reason = f"labels short enough for this model's {model.max_length} tokens"
        return [
            InvalidRequest(field="candidate_labels", got=call.inputs.candidate_labels, accepted=reason)
            for call, _ in rows
        ]
    logits = iter(forward_each(model, encoded, read_logits))
    answers: list[ZeroShotAnswer | InvalidRequest] = []
    for (call, text), own in zip(rows, labels, strict=True):
        pairs = np.stack([next(logits)[[contradicts, entails]] for _ in own])
        answers.append(rank(text, own, label_scores(pairs, multi_label=call.params.multi_label)))
    return answers


def label_scores(pairs: Array, *, multi_label: bool) -> Array:
    """Scores, (labels,), from (labels, 2) logits of contradiction and entailment."""
    if multi_label or len(pairs) == 1:
        own: Array = softmax(pairs, axis=1)[:, 1]
        return own
    return softmax(pairs[:, 1])


def rank(text: str, labels: Sequence[str], scores: Array) -> ZeroShotAnswer:
    """The labels with their scores, best first."""
    order = np.argsort(-scores, kind="stable")
    return ZeroShotAnswer(text, [labels[index] for index in order], [float(scores[index]) for index in order])


TASK = Task(
    id="zero-shot-classification",
    summary="Say which of your own labels fit a text.",
    inputs=ZeroShotClassificationInputs,
    params=ZeroShotClassificationParams,
    output=ZeroShotClassificationOutput,
    run=run,
    heads=("sequence-classification",),
    example={
        "text": "The match ended with a late goal and a long party.",
        "candidate_labels": ["sports", "politics", "science"],
    },
    length=text_length,
    sizes=sizes.texts_with_labels,
    has_variants=True,
)
