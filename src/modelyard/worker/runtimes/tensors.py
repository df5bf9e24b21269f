"""From the library's tensors to the arrays and plain lists that tasks read, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from modelyard.tasks.model import Array


def to_numpy(tensor: torch.Tensor) -> Array:
    """The tensor on the CPU; floating point as float32."""
    tensor = tensor.detach()
    array: Array = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    return array


def to_plain(value: Any) -> Any:
    """`value` with every tensor in it as an array, names as dicts, tuples as lists; None in a mapping is left out."""
    if isinstance(value, torch.Tensor):
        return to_numpy(value)
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items() if item is not None}
    return [to_plain(item) for item in value] if isinstance(value, list | tuple) else value


class Named(dict[str, Any]):
    """Outputs by name, as the library's processors read them: `outputs.logits` as well as `outputs["logits"]`.

    A name that is not there is None, as in the library's own outputs.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)


def to_tensors(value: Any) -> Any:
    """`value` with every array in it as a tensor on the CPU, and mappings as `Named`."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Mapping):
        return Named({name: to_tensors(item) for name, item in value.items()})
    return type(value)(to_tensors(item) for item in value) if isinstance(value, list | tuple) else value
