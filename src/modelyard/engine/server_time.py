"""How busy the server itself is: this process and those it has started, its gateways among them. Replicas are started
by another process and do not count.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil


class ServerTime:
    """Reads it whenever it is asked."""

    def __init__(self) -> None:
        self._at_s, self._seconds = time.monotonic(), seconds_computed()

    def cores_since(self) -> float:
        """How many cores were busy with it on average since it was asked the last time."""
        at_s, seconds = time.monotonic(), seconds_computed()
        busy = max(0.0, seconds - self._seconds) / max(1e-3, at_s - self._at_s)
        self._at_s, self._seconds = at_s, seconds
        return busy


def seconds_computed() -> float:
    """So far, by the processes that there are now."""
    return time.process_time() + sum(map(seconds_of, children()))


def children() -> list[int]:
    """The processes that this one has started; psutil would look through all of the machine. Source:
    proc_tid_children(5)."""
    with suppress(OSError):  # a kernel without that file: gateways in processes of their own do not count
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def seconds_of(pid: int) -> float:
    """Of one process; 0 when it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
