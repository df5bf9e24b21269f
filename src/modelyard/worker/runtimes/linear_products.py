"""By which product the rows of a pass are multiplied with a model's weights: torch's own, or oneDNN's.

Which of them is quicker differs by processor, by layer and by how many rows there are. Owns what both have taken, layer
by layer, while a model is used. No cache, no mask and no other layer sees the rows of padding. The results differ in
their last bits, as those of more rows do.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import torch
from torch.nn import functional

SIZES = (4, 8, 16, 24, 32, 48, 64, 96, 128)
"""Rows that oneDNN multiplies at once: fewer are padded to the next of these, more go in parts of the last. For each of
them and each shape of a layer it makes code, in some milliseconds, and both products have to be compared."""
FEWEST_ROWS = 2
"""A lone row is multiplied as a vector, and text that is written alone is the library's own to the last bit."""
LEAST_WEIGHTS = 2**17
"""Layers of fewer weights are as quick by either: half a megabyte lies in a processor's cache."""
SAMPLES = 5
"""Of so many products by each way the medians are compared: another program may have had the processor in one, and
the first by oneDNN makes the code."""
REST = 1000
"""After so many products of a kind both ways are compared again: threads come and go."""
GAIN = 0.95
"""What a product by oneDNN has to take at most, of the time of torch's."""


class LinearProducts:
    """While it is in use, the model's linear layers multiply by what was found to be quicker. Their hooks see none of
    the padding. On the model's thread only."""

    def __init__(self, model: torch.nn.Module, clock: Callable[[], float] = time.perf_counter) -> None:
        """`model`: of it the library's own layers are meant, of 32 bits and on the processor; whatever else stands in
        for one computes as ever."""
        plain = [layer for layer in model.modules() if type(layer) is torch.nn.Linear]
        self._layers = [(vars(layer), partial(self._multiply, layer)) for layer in plain if is_meant(layer)]
        self._clock = clock
        self._comparisons: defaultdict[tuple[int, int, int], Comparison] = defaultdict(Comparison)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """In this block they do. Within another of the same model, it changes nothing."""
        layers = [(attributes, multiplies) for attributes, multiplies in self._layers if "forward" not in attributes]
        # Not by setattr, which looks for parameters: a microsecond for each layer.
        for attributes, multiplies in layers:
            attributes["forward"] = multiplies
        try:
            yield
        finally:
            for attributes, _multiplies in layers:
                del attributes["forward"]

    def _multiply(self, layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.numel() // inputs.shape[-1]
        if rows < FEWEST_ROWS:
            return functional.linear(inputs, layer.weight, layer.bias)
        comparison = self._comparisons[layer.in_features, layer.out_features, size_of(rows)]
        multiply = multiply_by_onednn if comparison.next_is_onednn() else multiply_by_torch
        if comparison.rests:
            comparison.rests -= 1
            return multiply(layer, inputs)
        began = self._clock()
        made = multiply(layer, inputs)
        comparison.note((self._clock() - began) / rows)
        return made


class Comparison:
    """What products of one kind have taken, in turns by torch and by oneDNN. `rests`: so many come before it is looked
    at again which is quicker."""

    def __init__(self) -> None:
        self.rests = 0
        self._torch_s: deque[float] = deque(maxlen=SAMPLES)
        self._onednn_s: deque[float] = deque(maxlen=SAMPLES)
        self._gains = False

    def next_is_onednn(self) -> bool:
        """Whether the next product is by oneDNN."""
        return self._gains if self.rests else len(self._torch_s) > len(self._onednn_s)

    def note(self, took_s: float) -> None:
        """The product has taken so long, which was compared."""
        (self._onednn_s if self.next_is_onednn() else self._torch_s).append(took_s)
        if len(self._onednn_s) == SAMPLES:
            self._gains = median(self._onednn_s) < GAIN * median(self._torch_s)
            self._torch_s.clear()
            self._onednn_s.clear()
            self.rests = REST


def is_meant(layer: torch.nn.Linear) -> bool:
    """Whether oneDNN may multiply with the layer's weights, and it may be worth it."""
    weight = layer.weight
    return (
        torch.backends.mkldnn.is_available()
        and type(weight) is torch.nn.Parameter
        and weight.dtype is torch.float32
        and weight.device.type == "cpu"
        and weight.numel() >= LEAST_WEIGHTS
    )


def size_of(rows: int) -> int:
    """As how many the last so many rows are multiplied by oneDNN, with those of padding."""
    return SIZES[bisect_left(SIZES, min(rows, SIZES[-1]))]


def multiply_by_torch(layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    """What the layer makes of `inputs`, (..., width)."""
    return functional.linear(inputs, layer.weight, layer.bias)


def multiply_by_onednn(layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    """The same but for the last bits."""
    rows = inputs.reshape(-1, inputs.shape[-1])
    if len(rows) <= SIZES[-1]:
        return multiply_part(layer, rows).view(*inputs.shape[:-1], -1)
    made = rows.new_empty(len(rows), layer.out_features)  # all parts, and then that, would be there twice
    for given, place in zip(rows.split(SIZES[-1]), made.split(SIZES[-1]), strict=True):
        place.copy_(multiply_part(layer, given))
    return made.view(*inputs.shape[:-1], -1)


def multiply_part(layer: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    """What the layer makes of at most SIZES[-1] rows."""
    count = len(rows)
    if padding := size_of(count) - count:
        rows = functional.pad(rows, (0, 0, 0, padding))
    product: Any = torch.ops.mkldnn._linear_pointwise.default
    made: torch.Tensor = product(rows, layer.weight, layer.bias, "none", [], "")
    return made[:count]
