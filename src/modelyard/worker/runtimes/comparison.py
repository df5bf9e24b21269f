"""Whether an exported graph computes what its original does, at shapes that the export has not seen. Owns the bound.

Random tokens, not text: what a graph does wrong does not depend on the meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from modelyard.tasks.model import Array
from modelyard.worker.runtimes.export import Export, random_cache
from modelyard.worker.runtimes.graph import Graph

BOUND = 1e-3
"""The largest logit error. Both compute in 32 bits: sound exports are at 1e-6, and deep ones may add up to a hundred
times that, while a graph that is wrong (a size frozen, a mask lost) is at 0.1 and more."""

SHAPES = ((1, 2), (1, 32), (3, 57), (5, 17), (8, 24))
"""(rows, tokens), each unlike the exported one; in more than one row, one is padded."""
PREFILLS = ((1, 9), (3, 21), (4, 40))
STEPS = 4
"""Cached tokens after each prefill."""


@dataclass(slots=True)
class Errors:
    """Squared errors and outputs of one output's values, over all shapes."""

    errors: list[Array] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)

    def add(self, got: Array, wanted: Array, seen: Array | None) -> None:
        """One comparison. `seen`: which of the first two axes count, (rows, tokens); None: all."""
        if got.shape != wanted.shape:
            raise ValueError(f"the variant answers in the shape {got.shape}, the original in {wanted.shape}")
        if seen is not None and wanted.shape[:2] == seen.shape:
            got, wanted = got[seen], wanted[seen]
        self.errors.append((got.astype(np.float64) - wanted).ravel())
        self.values.append(wanted.astype(np.float64).ravel())

    @property
    def relative(self) -> float:
        """Root mean square of the error over the standard deviation of the values."""
        error = float(np.sqrt(np.mean(np.concatenate(self.errors) ** 2)))
        spread = float(np.std(np.concatenate(self.values)))
        return error / spread if spread else (0.0 if error == 0 else float("inf"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`logit_error`: the worst output's. `shapes`: what was compared, for people."""

    logit_error: float
    shapes: tuple[str, ...]


def check(export: Export, graph: Graph, longest: int | None) -> Verdict:
    """Compares the graph with the original. `longest`: the longest input in tokens, where there is a limit.

    Raises ValueError when the answers cannot be compared.
    """
    errors: dict[str, Errors] = {}
    rounds = check_steps if export.cache else check_passes
    shapes = tuple(rounds(export, graph, longest or 10**6, errors))
    # One odd value, such as nan, must not pass as small.
    worst = max((found.relative for found in errors.values()), key=lambda value: (np.isnan(value), value))
    return Verdict(float(worst), shapes)


def check_passes(export: Export, graph: Graph, longest: int, errors: dict[str, Errors]) -> Iterator[str]:
    """One pass at each shape."""
    for seed, (rows, length) in enumerate(SHAPES, 1):
        length = min(length, longest)
        inputs = export.example(rows, length, seed)
        wanted = ask_original(export, inputs)
        got = ask_graph(graph, export, inputs)
        masks = [tensor for name, tensor in zip(export.inputs, inputs, strict=True) if name == "attention_mask"]
        seen = masks[0].numpy().astype(bool) if masks else None
        for name, own, theirs in zip(export.outputs, got, wanted, strict=True):
            errors.setdefault(name, Errors()).add(own, theirs, seen)
        yield f"{rows} × {length}" if masks else f"{rows} of {export.image_size}"


def check_steps(export: Export, graph: Graph, longest: int, errors: dict[str, Errors]) -> Iterator[str]:
    """A prefill and some cached steps at each shape, each side with its own cache; rows are padded on the left."""
    assert export.cache is not None  # noqa: S101 - the caller's condition
    found = errors.setdefault("logits", Errors())
    plain = [name for name in export.inputs if not name.startswith("past")]
    for seed, (rows, length) in enumerate(PREFILLS, 1):
        length = min(length, longest - STEPS)
        tokens = export.example(rows, length + STEPS, seed)[0]
        mask = torch.ones(rows, length + STEPS, dtype=torch.int64)
        if rows > 1:
            mask[0, : length // 3] = 0
        places = (mask.cumsum(1) - 1).clamp(min=0)
        own = theirs = random_cache(export.cache, rows, 0, 0)
        for start, end in ((0, length), *((step, step + 1) for step in range(length, length + STEPS))):
            given = {"input_ids": tokens[:, start:end], "attention_mask": mask[:, :end],
                     "position_ids": places[:, start:end]}  # fmt: skip
            step = [given[name] for name in plain]
            wanted, *after = ask_original(export, [*step, *theirs])
            got, *present = ask_graph(graph, export, [*step, *own])
            found.add(got, wanted, None)
            theirs, own = [torch.from_numpy(part) for part in after], [torch.from_numpy(part) for part in present]
        yield f"{rows} × {length}, then {STEPS} cached"


def ask_original(export: Export, inputs: Sequence[torch.Tensor]) -> list[Array]:
    """The original's outputs."""
    with torch.inference_mode():
        return [tensor.numpy() for tensor in export.module(*inputs)]


def ask_graph(graph: Graph, export: Export, inputs: Sequence[torch.Tensor]) -> Sequence[Array]:
    """The variant's outputs. Inputs that the graph does not depend on are not among its own."""
    given: Mapping[str, Array] = {
        name: np.ascontiguousarray(tensor.numpy()) for name, tensor in zip(export.inputs, inputs, strict=True)
    }
    return graph.run({name: given[name] for name in graph.inputs})
