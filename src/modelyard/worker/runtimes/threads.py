"""How many threads one operation may use. Keeps the number, for runtimes whose framework does not."""

from __future__ import annotations

from typing import Any

try:
    import torch
except ModuleNotFoundError:  # in a worker that holds none: see `preload_without_torch`
    _torch: Any = None
else:
    _torch = torch

_wanted = 1


def set_threads(count: int) -> None:
    """Sets the threads per operation. Call it on the thread that runs the model: OpenMP keeps the number per thread."""
    global _wanted
    _wanted = count
    if _torch is not None and _torch.get_num_threads() != count:
        _torch.set_num_threads(count)


def get_threads() -> int:
    """What `set_threads` was last told; 1 before."""
    return _wanted
