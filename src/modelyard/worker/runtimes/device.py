"""The accelerator a model runs on: which one, and what is held there. The framework keeps the figures.

Imports torch only where a device is chosen: some workers hold none.
"""

from __future__ import annotations

import sys
from typing import Any

from modelyard.errors import BootFailed


def choose_device(device: str) -> Any:
    """The torch device to load onto; `auto` is CUDA where there is one. Raises BootFailed."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BootFailed(f"Device {device} was asked for, but this machine offers no CUDA. Use auto or cpu.")
    return torch.device(device)


def peak_device_bytes() -> int | None:
    """The most that this process has reserved on all CUDA devices together; None when it uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return sum(int(torch.cuda.max_memory_reserved(device)) for device in range(torch.cuda.device_count()))


def release_device_memory() -> None:
    """Gives what torch keeps for later back to the CUDA devices, where it uses any."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
