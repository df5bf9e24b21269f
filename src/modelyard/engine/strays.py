"""Ending processes that an earlier server left behind. Knows them by pid and start time, and touches no others."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from modelyard.worker.memory import start_ticks
from modelyard.worker.processes import kill_group


def end_strays(processes: Iterable[tuple[int, int]]) -> int:
    """Kills the process group of each (pid, start ticks) that still runs; returns how many did.

    A pid that now belongs to another process has other start ticks and is left alone.
    """
    ended = 0
    for pid, ticks in processes:
        if start_ticks(pid) == ticks:
            kill_group(pid, signal.SIGKILL)
            ended += 1
    return ended
