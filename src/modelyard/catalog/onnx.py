"""Inspection of models that others have exported to ONNX: what one of their graphs is, and what of them is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelyard.catalog.architectures import known_task
from modelyard.catalog.onnx_files import OnnxModel
from modelyard.records.models import ONNX, Inspection

HEADS = frozenset(
    {
        "base", "causal-lm", "masked-lm", "sequence-classification", "token-classification", "question-answering",
        "image-classification",
    }
)  # fmt: skip
"""Heads of models that are served from such a graph."""


def inspect_onnx(found: Inspection, graph: OnnxModel, labels: Sequence[str]) -> Inspection:
    """What one graph is. `found`: what the files beside it say. `labels`: of all there are in its repository."""
    return replace(
        found,
        library=ONNX,
        weight_bytes=graph.size_bytes,
        dtype=graph.dtype,
        remote_code=False,
        weight_files=graph.files,
        labels=tuple(labels),
        exported=True,
        problem=found.problem or find_problem(found),
    )


def find_problem(found: Inspection) -> str | None:
    """Why such a graph cannot be served; None when nothing that lies beside it speaks against it."""
    if found.remote_code:
        return "needs Python code from its own repository, which is not run beside an ONNX graph; take the original"
    task = known_task(found.task) if found.task else None
    if task is not None and not HEADS.intersection(task.heads):
        return f"is an ONNX graph for {task.id}, which is not served from ONNX files; take the original weights"
    return None
