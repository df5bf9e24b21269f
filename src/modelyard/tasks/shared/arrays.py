"""Rows of arrays, batches of one: which of them fit together without padding, and one pass over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, attempt
from modelyard.tasks.model import Array, Model

Arguments = Mapping[str, Array]
"""The model's argument names → arrays, batch first."""


def group_by_shape(rows: Sequence[Mapping[str, Array]]) -> list[list[int]]:
    """The rows' indices, grouped: those of one group have arrays of equal shapes, one entry each. A row with several
    entries in an array (patches, several images) cannot be told apart from its neighbours' and stays alone.
    """
    groups: dict[Any, list[int]] = {}
    for index, row in enumerate(rows):
        shapes = tuple((name, array.shape) for name, array in row.items())
        single = all(len(array) == 1 for array in row.values())
        groups.setdefault(shapes if single else index, []).append(index)
    return list(groups.values())


def stack_rows(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The arrays of rows of one group, as one batch."""
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def forward_rows(
    model: Model, rows: Sequence[Arguments], shared: Arguments | None = None, method: str = "forward"
) -> list[dict[str, Any]]:
    """Each row's outputs, batches of one where the row is one, in order. Rows of one shape run together; nothing is
    padded, as many models that read images, sounds or videos have no mask and would take padding for content.

    `shared`: arguments that each pass gets as they are; `method`: which of the model's passes.
    """
    results: dict[int, dict[str, Any]] = {}
    for group in group_by_shape(rows):
        outputs = model.forward({**stack_rows([rows[index] for index in group]), **(shared or {})}, method=method)
        for place, index in enumerate(group):
            # A row that runs alone may have several entries, such as the pieces of one image: all outputs are its own.
            results[index] = take_rows(outputs, slice(place, place + 1) if len(group) > 1 else slice(None))
    return [results[index] for index in range(len(rows))]


def take_rows(outputs: Mapping[str, Any], rows: slice) -> dict[str, Any]:
    """Some rows of a batch's outputs: of arrays and of lists of arrays; others are left out."""
    taken: dict[str, Any] = {}
    for name, value in outputs.items():
        if isinstance(value, np.ndarray):
            taken[name] = value[rows]
        elif isinstance(value, list) and all(isinstance(each, np.ndarray) for each in value):
            taken[name] = [each[rows] for each in value]
    return taken


def answer_logits(
    model: Model,
    calls: Sequence[Call[Any, Any]],
    prepare: Callable[[Model, Call[Any, Any]], Arguments],
    answer: Callable[[Call[Any, Any], Array], Any],
) -> list[Any]:
    """One answer per call, in order: its arguments as `prepare` makes them, run with others of their shape, and the
    answer to its (labels,) logits. What `prepare` refuses fails that call alone.
    """
    rows = [attempt(prepare, model, call) for call in calls]
    outputs = iter(forward_rows(model, [row for row in rows if not isinstance(row, InvalidRequest)]))
    return [
        row if isinstance(row, InvalidRequest) else answer(call, next(outputs)["logits"][0])
        for call, row in zip(calls, rows, strict=True)
    ]
