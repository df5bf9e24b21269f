"""What this machine has for replicas: cores and memory. Asks the system; imports no model library."""

from __future__ import annotations

import os

import psutil

from modelyard.engine.control_groups import find_limit


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory_bytes(fraction: float = 0.9) -> int:
    """What replicas may hold on this machine: `fraction` of what is free now, within its control groups' limit."""
    free, limit = psutil.virtual_memory().available, find_limit("memory")
    return int(min(free, free if limit is None else limit) * fraction)
