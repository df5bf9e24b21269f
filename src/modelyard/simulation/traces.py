"""What is replayed: requests, each with its moment, its model and how long a replica works on it. Owns the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.errors import InvalidRequest

ACCOUNTS = 100
"""Among which a trace's models are divided, where it names no accounts."""


@dataclass(frozen=True, slots=True)
class TracedModel:
    """A model as requests of a trace name it. `memory_bytes`: of one replica."""

    model_id: str
    account: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of time. `at_s`: seconds from the beginning; `model`: which of `models`; `duration_s`: a
    replica works on it; one entry for each request in all three. `span_s`: how long the trace is."""

    name: str
    models: Sequence[TracedModel]
    at_s: NDArray[np.float64]
    model: NDArray[np.int64]
    duration_s: NDArray[np.float64]
    span_s: float

    def __len__(self) -> int:
        return len(self.at_s)


def in_order(
    name: str,
    models: Sequence[TracedModel],
    at_s: NDArray[np.float64],
    model: NDArray[np.int64],
    duration_s: NDArray[np.float64],
    span_s: float,
) -> Trace:
    """The trace of requests that come in any order. Raises InvalidRequest when there is none."""
    if not len(at_s):
        raise InvalidRequest(field="trace", got="no request", accepted="one request at least")
    order = np.argsort(at_s, kind="stable")
    return Trace(name, models, at_s[order], model[order], duration_s[order], span_s)
