"""LoRA beside a model's weights: what each adapter adds to the outputs of its layers, in the rows that are its own.

Owns the hooks on the layers; only layers beside which there is a matrix have one. The weights themselves stay as they
are. Loads nothing.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.nn.functional import linear

Pair = tuple[torch.Tensor, torch.Tensor]
"""The matrices of one layer, (rank, inputs) and (outputs, rank), the second one scaled already."""


class LoraWeights:
    """One adapter's matrices by the layer's name. The hooks that it alone needs go with it, whoever lets go of it
    last."""

    def __init__(self, layers: AdapterLayers, pairs: Mapping[str, Pair]) -> None:
        """To be made between two passes of the model, on its thread."""
        self.layers = layers
        self.mark = object()
        """Tells it from all others, also once it is gone."""
        self.pairs = {name: (down.to(*layers.kind), up.to(*layers.kind)) for name, (down, up) in pairs.items()}
        layers.hook(self.pairs)
        weakref.finalize(self, layers.unhook, tuple(self.pairs))


class RowsUnknown(RuntimeError):
    """A layer is given something else than the rows of the pass; they have to go through the model one at a time."""


class AdapterLayers:
    """The layers of one model beside which there are adapters, and what they add in the pass under way."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._users: Counter[str] = Counter()
        self._hooks: dict[str, Any] = {}
        self._changing = threading.Lock()
        self._added: Sequence[tuple[LoraWeights, torch.Tensor | None]] = ()
        self._shape = (0, 0)

    @property
    def kind(self) -> tuple[torch.device, torch.dtype]:
        """Where the model's weights are, and of which type."""
        return self._model.device, self._model.dtype

    def hook(self, names: Iterable[str]) -> None:
        """One more adapter is beside each of these layers."""
        with self._changing:
            for name in names:
                self._users[name] += 1
                if name not in self._hooks:
                    layer = self._model.get_submodule(name)
                    self._hooks[name] = layer.register_forward_hook(self._hook_of(name))

    def unhook(self, names: Sequence[str]) -> None:
        """One adapter less is beside each of these layers. On any thread."""
        with self._changing:
            for name in names:
                self._users[name] -= 1
                if not self._users[name]:
                    self._hooks.pop(name).remove()

    @contextmanager
    def beside_all(self, weights: LoraWeights) -> Iterator[None]:
        """In passes of this block, every row has this adapter."""
        self._added = [(weights, None)]
        try:
            yield
        finally:
            self._added = ()

    @contextmanager
    def beside_rows(self, each: Sequence[LoraWeights | None], columns: int) -> Iterator[None]:
        """In the pass of this block, row by row, each has its adapter, or none. `columns`: of the pass."""
        rows: dict[LoraWeights, list[int]] = {}
        for row, weights in enumerate(each):
            if weights is not None:
                rows.setdefault(weights, []).append(row)
        device, _ = self.kind
        self._shape = (len(each), columns)
        self._added = [
            (weights, None if len(own) == len(each) else torch.tensor(own, device=device))
            for weights, own in rows.items()
        ]
        try:
            yield
        finally:
            self._added = ()

    def _hook_of(self, name: str) -> Any:
        def add(_layer: Any, inputs: tuple[torch.Tensor, ...], outputs: torch.Tensor) -> torch.Tensor:
            for weights, rows in self._added:
                if (pair := weights.pairs.get(name)) is None:
                    continue
                if rows is None:
                    outputs += linear(linear(inputs[0], pair[0]), pair[1])
                else:
                    self._add_to_rows(inputs[0], outputs, rows, pair)
            return outputs

        return add

    def _add_to_rows(self, inputs: torch.Tensor, outputs: torch.Tensor, rows: torch.Tensor, pair: Pair) -> None:
        """`inputs`: (rows, columns, width), of as many columns as the layer is given, or (rows * columns, width) of
        all. Raises RowsUnknown for others."""
        count, columns = self._shape
        if inputs.shape[:-1] == (count * columns,):
            inputs, outputs = inputs.view(count, columns, -1), outputs.view(count, columns, -1)
        elif inputs.dim() != 3 or len(inputs) != count:
            raise RowsUnknown(f"a layer was given {tuple(inputs.shape)} for {count} rows of {columns} tokens")
        outputs.index_add_(0, rows, linear(linear(inputs[rows], pair[0]), pair[1]))


def beside_rows(each: Sequence[LoraWeights | None], columns: int) -> AbstractContextManager[None]:
    """The same where no row may have any. All are beside one model."""
    first = next((weights for weights in each if weights is not None), None)
    return nullcontext() if first is None else first.layers.beside_rows(each, columns)
