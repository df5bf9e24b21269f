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
        "image-classification", "zero-shot-image-classification", "object-detection",
    }
)  # fmt: skip
"""Heads of models that are served from one graph."""
WRITING_HEADS = frozenset({"seq2seq-lm", "speech-seq2seq", "vision-encoder-decoder"})
"""Those of models that are served from an encoder and what writes."""
ROUNDED = (
    "Its weights are rounded to 8 bits, and what they multiply too: its answers may be far from the original's, those "
    "of a language model most of all. Compare before you use it, or take fp32, fp16, or a variant made here "
    "(.onnx.8-bit)."
)
"""The warning for such graphs."""
SPELLING = "ForCTC"
"""How architectures end that write sounds down in one pass, by one graph; their task is also that of those that write
word after word."""


def inspect_onnx(found: Inspection, graph: OnnxModel, labels: Sequence[str]) -> Inspection:
    """What one graph is, or an encoder with its decoder. `found`: what the files beside it say. `labels`: of all there
    are in its repository."""
    return replace(
        found,
        library=ONNX,
        weight_bytes=graph.size_bytes,
        dtype=graph.dtype,
        remote_code=False,
        weight_files=graph.files,
        labels=tuple(labels),
        exported=True,
        warning=ROUNDED if graph.rounds_inputs else None,
        problem=found.problem or find_problem(found, graph),
    )


def find_problem(found: Inspection, graph: OnnxModel) -> str | None:
    """Why it cannot be served; None when nothing that lies beside it speaks against it."""
    if found.remote_code:
        return "needs Python code from its own repository, which is not run beside an ONNX graph; take the original"
    task = known_task(found.task) if found.task else None
    if task is None:
        return None
    writes = bool(WRITING_HEADS.intersection(task.heads))
    if graph.writes and not writes:
        return (
            f"is exported to ONNX in several graphs ({graph.files[0]} is one), which are not served for {task.id}; "
            "take the original weights"
        )
    spells = (found.architecture or "").endswith(SPELLING)
    if writes and not graph.writes and not spells:
        return (
            f"is one ONNX graph for {task.id}, which takes an encoder and a decoder with a cache; take a repository "
            "that has both, or the original weights"
        )
    if not writes and not HEADS.intersection(task.heads):
        return f"is an ONNX graph for {task.id}, which is not served from ONNX files; take the original weights"
    return None
