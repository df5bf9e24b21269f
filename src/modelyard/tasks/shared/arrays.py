"""Rows of arrays put together into batches, and which of them fit together without padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.tasks.model import Array


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
