"""What this machine has for replicas: cores and memory. Asks the system; imports no model library."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory_bytes(fraction: float = 0.9) -> int:
    """What replicas may hold on this machine: `fraction` of what is free now, within the cgroup's limit."""
    limits = [psutil.virtual_memory().available]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return int(min(limits) * fraction)
