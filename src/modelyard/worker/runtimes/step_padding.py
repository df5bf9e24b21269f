"""Whether the few rows of a step are padded where they are multiplied with a model's weights.

On some processors the product for 10 to 15 rows takes longer than that for 16, which fill the widest registers. Rows of
padding are there within each linear layer only: no cache, no mask and no other layer sees them. Owns whether they are
worth it, by what pairs of steps have taken. The results differ in their last bits, as those of more rows do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch.nn import functional

WIDTH = 16
"""Rows, with those of padding: as many numbers of 32 bits as a register of 512 bits holds."""
FEWEST_ROWS = 9
"""For fewer rows, more would be added than there are. (Seen: never worth it.)"""
PAIRS = 5
"""Of so many comparisons the median counts: another program may have had the processor in one of them."""
REST_STEPS = 100
"""After so many steps of a number of rows they are compared again: threads come and go."""
GAIN = 0.98
"""What padded steps have to take at most, of the time of others."""


class StepPadding:
    """Chooses whether a step is padded, by the number of its rows. On the model's thread only."""

    def __init__(self, model: Any, clock: Callable[[], float] = time.perf_counter) -> None:
        """`model`: nothing of it is ever padded unless it is of 32 bits and on the processor."""
        self._applies = model.device.type == "cpu" and model.dtype is torch.float32
        self._padded = PaddedLayers(model)
        self._clock = clock
        self._seen: dict[int, Comparison] = {}

    def run(self, rows: int, step: Callable[[], Any]) -> Any:
        """Runs a step of so many rows; returns what it does."""
        if not self._applies or not FEWEST_ROWS <= rows < WIDTH:
            return step()
        seen = self._seen.setdefault(rows, Comparison())
        pads = seen.next_is_padded()
        began = self._clock()
        if pads:
            with self._padded:
                made = step()
        else:
            made = step()
        seen.note(self._clock() - began, padded=pads)
        return made


class Comparison:
    """What steps of one number of rows have taken, in pairs: one as it is, and one padded right after it."""

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=PAIRS)
        self._plain_s: float | None = None
        self._rests = 0

    def next_is_padded(self) -> bool:
        """Whether the next step is padded."""
        return median(self._ratios) < GAIN if self._rests else self._plain_s is not None

    def note(self, took_s: float, *, padded: bool) -> None:
        """The step has taken so long."""
        if self._rests:
            self._rests -= 1
        elif self._plain_s is None:
            self._plain_s = took_s
        else:
            self._ratios.append(took_s / self._plain_s)
            self._plain_s = None
            self._rests = REST_STEPS if len(self._ratios) == PAIRS else 0


class PaddedLayers:
    """In a `with` block, the model's linear layers multiply padded rows. Their hooks see none of the padding."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Of the library's layers those of 32 bits; whatever else stands in for one computes as ever."""
        plain = [layer for layer in model.modules() if type(layer) is torch.nn.Linear and "forward" not in vars(layer)]
        self._layers = [
            (vars(layer), partial(multiply_padded, layer))
            for layer in plain
            if type(layer.weight) is torch.nn.Parameter and layer.weight.dtype is torch.float32
        ]

    def __enter__(self) -> None:
        # Not by setattr, which looks for parameters: a microsecond for each layer.
        for attributes, multiplies in self._layers:
            attributes["forward"] = multiplies

    def __exit__(self, *_: object) -> None:
        for attributes, _multiplies in self._layers:
            del attributes["forward"]


def multiply_padded(layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    """What the layer makes of `inputs`, (..., width). Layers that see some of the rows only, as experts do, are not
    padded where those are few."""
    rows = inputs.reshape(-1, inputs.shape[-1])
    if not FEWEST_ROWS <= len(rows) < WIDTH:
        return functional.linear(inputs, layer.weight, layer.bias)
    padded = functional.pad(rows, (0, 0, 0, WIDTH - len(rows)))
    return functional.linear(padded, layer.weight, layer.bias)[: len(rows)].view(*inputs.shape[:-1], -1)
