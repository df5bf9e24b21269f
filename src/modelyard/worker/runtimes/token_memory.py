"""How much memory the caches of rows may take: what is set aside for the process, less what else lies there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from modelyard.units import MIB
from modelyard.worker.limits import memory_figures
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES

PROGRAM_BYTES = 60 * MIB
"""What a worker takes before it loads anything; as plans have it (catalog.memory)."""
PASS_SHARE, FEWEST_PASS_BYTES = 0.1, 32 * MIB
"""What passes take, relative to the weights; as plans have it too."""
LEAST_SHARE = 1 / 16
"""Of what is set aside, caches get so much at least: what was measured of a small model holds less than the above."""
FREE_SHARE = 0.5
"""Where nobody said what is set aside: of what the process may still allocate, the part that caches may take."""


class CacheRoom(NamedTuple):
    """What caches may take. `keeps`: rows that have ended may stay in what is free of it."""

    cache_bytes: int
    keeps: bool


def plan_cache(device: torch.device, weight_bytes: int, reserved_bytes: int | None) -> CacheRoom:
    """What caches of rows may take on `device`, now that a model of so many bytes has loaded.

    `reserved_bytes`: what is set aside for the process; None: nobody said. Then a process that has a limit all the same
    is one that is measured: it keeps nothing, since what it holds at most is set aside from then on.
    """
    on_cuda = device.type == "cuda"
    if reserved_bytes is not None:
        process_bytes = DEVICE_CONTEXT_BYTES if on_cuda else PROGRAM_BYTES
        taken = process_bytes + weight_bytes + max(FEWEST_PASS_BYTES, int(PASS_SHARE * weight_bytes))
        return CacheRoom(max(int(LEAST_SHARE * reserved_bytes), reserved_bytes - taken), keeps=not on_cuda)
    if on_cuda:
        return CacheRoom(int(FREE_SHARE * torch.cuda.mem_get_info(device)[0]), keeps=False)
    figures = memory_figures()
    limited = "limit_bytes" in figures
    free = figures["limit_bytes"] - figures["held_bytes"] if limited else available_bytes()
    return CacheRoom(max(0, int(FREE_SHARE * free)), keeps=not limited)


def available_bytes() -> int:
    """What the machine could still give; where the kernel does not tell, 1 GB. Source: proc_meminfo(5)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 10**9
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 10**9)
