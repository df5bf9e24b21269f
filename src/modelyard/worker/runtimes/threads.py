"""How many threads one operation may use. Owns nothing; the frameworks keep the number."""

from __future__ import annotations

import torch


def set_threads(count: int) -> None:
    """Sets the threads per operation. Call it on the thread that runs the model: OpenMP keeps the number per thread."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
