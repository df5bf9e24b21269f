"""A graph in memory that can be run, whatever library holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from modelyard.tasks.model import Array


class Graph(Protocol):
    """`inputs`, `outputs`: their names, in its order; `types`, `shapes`: of its inputs, numpy's type or None where that
    is not known, a number for what is fixed. One thread at a time may run it."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: Mapping[str, Any]
    shapes: Mapping[str, Sequence[int | str | None]]

    def run(self, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """All outputs, in their order. `inputs`: exactly the graph's own.

        Raises RuntimeError when the graph cannot take them, MemoryError.
        """


Open = Callable[[Path], Graph]
"""Opens the graph in a file. Raises RuntimeError for files that the library cannot read, MemoryError."""


def find_opener(runtime: str) -> Open:
    """What opens a graph for the runtime of that name; imports its library."""
    if runtime == "openvino":
        from modelyard.worker.runtimes.openvino import Session as OpenVinoSession

        return OpenVinoSession
    from modelyard.worker.runtimes.onnx_session import Session

    return Session
