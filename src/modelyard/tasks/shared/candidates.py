"""The labels that a request brings along, for models that were not trained on any particular ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Array, Model

MOST_LABELS = 256
"""In one request: a model is asked about each."""
CandidateLabels = Annotated[
    Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=MOST_LABELS)]
    | Annotated[str, Meta(min_length=1)],
    Meta(description="the labels to choose from: a list of 1 to 256, or one string with commas between them"),
]


def split_labels(given: list[str] | str) -> list[str]:
    """The candidate labels as a list. Raises InvalidRequest for a string that holds none."""
    labels = [label.strip() for label in given.split(",") if label.strip()] if isinstance(given, str) else given
    if not labels:
        raise InvalidRequest(field="candidate_labels", got=given, accepted="at least one label")
    if len(labels) > MOST_LABELS:
        raise InvalidRequest(field="candidate_labels", got=f"{len(labels)} labels", accepted=f"at most {MOST_LABELS}")
    return labels


def check_template(template: str) -> None:
    """Raises InvalidRequest when a label would not show in the sentence that says it fits."""
    if "{}" not in template:
        raise InvalidRequest(field="params.hypothesis_template", got=template, accepted="a sentence with {} in it")


def tokens_of(model: Model, sentences: Sequence[str], *, limit: int | None, full: bool = False) -> dict[str, Array]:
    """The model's arguments for the sentences, padded together, or to the `limit` for models that want it `full`.

    Raises InvalidRequest for a sentence of more than `limit` tokens: cut, it could be the same as another.
    """
    padding = {"padding": "max_length", "max_length": limit} if full else {"padding": True}
    tokens = model.tokenizer(list(sentences), **padding)
    if limit is not None and max(len(ids) for ids in tokens["input_ids"]) > limit:
        longest = max(sentences, key=lambda sentence: len(model.tokenizer(sentence)["input_ids"]))
        reason = f"labels short enough for this model's {limit} tokens"
        raise InvalidRequest(field="candidate_labels", got=longest, accepted=reason)
    return {name: np.asarray(ids) for name, ids in tokens.items()}
