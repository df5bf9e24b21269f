"""From logits to scores, and from scores to labelled answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.tasks.base import Params
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model


class Label(msgspec.Struct, frozen=True):
    """A label and how well it fits, 0 to 1 unless the function applied says otherwise."""

    label: Annotated[str, means("label", "the name of the class")]
    score: Annotated[float, means("score", "how well it fits, 0 to 1 unless function_to_apply says otherwise")]


def softmax(logits: Array, axis: int = -1) -> Array:
    """Probabilities along `axis`."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    shares: Array = powers / powers.sum(axis=axis, keepdims=True)
    return shares


def sigmoid(logits: Array) -> Array:
    """Each logit's own probability."""
    shares: Array = 1 / (1 + np.exp(-logits))
    return shares


def to_scores(logits: Array, model: Model, function: str | None = None) -> Array:
    """Scores from (labels,) logits by `function`, or by what the model's config says it was trained with."""
    function = function or trained_function(model)
    if function == "softmax":
        return softmax(logits)
    return sigmoid(logits) if function == "sigmoid" else logits


def trained_function(model: Model) -> str:
    """`none` for regression, `sigmoid` for several labels at once or a single one, else `softmax`."""
    problem = model.config.get("problem_type")
    if problem == "regression":
        return "none"
    return "sigmoid" if problem == "multi_label_classification" or len(model.labels) == 1 else "softmax"


def best_labels(scores: Array, labels: Mapping[int, str], top_k: int | None = None) -> list[Label]:
    """The `top_k` labels, best first; equal scores in the model's order. `scores`: (labels,)."""
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [Label(labels.get(int(index), f"LABEL_{index}"), float(scores[index])) for index in order]


class LabelParams(Params, frozen=True, kw_only=True):
    """How many labels to answer, and how their scores are made."""

    top_k: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="how many labels to answer, best first; 5 by default")
    ] = 5
    function_to_apply: Annotated[
        Literal["softmax", "sigmoid", "none"] | None,
        Meta(description="softmax, sigmoid or none; by default what the model was trained with"),
    ] = None


def label(model: Model, params: LabelParams, logits: Array) -> list[Label]:
    """The labels of (labels,) logits, as the params want them."""
    return best_labels(to_scores(logits, model, params.function_to_apply), model.labels, params.top_k)
