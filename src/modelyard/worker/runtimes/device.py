"""The accelerator a model runs on: which one, and what is held there. The framework keeps the figures.

Imports torch only where a device is chosen: some workers hold none.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from modelyard.errors import BootFailed
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES


@dataclass(frozen=True, slots=True)
class Spread:
    """That a model is to lie on so many accelerators, the first that its process sees, and what it may take of each."""

    count: int
    share_bytes: int

    @property
    def weight_bytes(self) -> int:
        """What of each its weights may take: not what the driver holds for the process."""
        return max(0, self.share_bytes - DEVICE_CONTEXT_BYTES)


def choose_device(device: str) -> Any:
    """The torch device to load onto; `auto` is CUDA where there is one. Raises BootFailed."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BootFailed(f"Device {device} was asked for, but this machine offers no CUDA. Use auto or cpu.")
    return torch.device(device)


def is_spread(model: Any) -> bool:
    """Whether the layers of a loaded model lie on more than one device."""
    return len(set(getattr(model, "hf_device_map", {}).values())) > 1


def peak_device_bytes() -> int | None:
    """The most that this process has reserved on all CUDA devices together, and what its driver holds for it on each of
    them besides; None when it uses none. What others hold there does not count, nor whether they leave meanwhile."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    peaks = (int(torch.cuda.max_memory_reserved(device)) for device in range(torch.cuda.device_count()))
    return sum(peak + DEVICE_CONTEXT_BYTES for peak in peaks if peak)


def release_device_memory() -> None:
    """Gives what torch keeps for later back to the CUDA devices, where it uses any."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
