"""The most that some processes hold together, seen from outside: what reported figures are compared with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import psutil

from modelyard.worker.memory import read_kilobytes

SAMPLE_EVERY_S = 0.01


def pss_bytes(pid: int | str = "self") -> int | None:
    """Proportional set size: private pages, plus each shared page divided by the processes that share it.

    None where the kernel does not tell. Source: proc_pid_smaps_rollup(5).
    """
    return read_kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:")


def total_bytes(pids: Iterable[int]) -> int:
    """What the processes hold together: their proportional set sizes add up."""
    return sum(pss_bytes(pid) or 0 for pid in pids)


class Watch(threading.Thread):
    """Samples the sum until told to stop."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        """`pids`: the processes there are at this moment, the youngest last."""
        super().__init__(daemon=True)
        self._pids = pids
        self._ended = threading.Event()
        self._peaks: dict[int, int] = {}

    def run(self) -> None:
        """Samples."""
        while not self._ended.wait(SAMPLE_EVERY_S):
            try:
                pids = self._pids()
            except psutil.NoSuchProcess:  # it ended while it was looked at
                continue
            if pids:
                self._peaks[pids[-1]] = max(self._peaks.get(pids[-1], 0), total_bytes(pids))

    def finish(self) -> int:
        """The peak while the process that came last was there."""
        self._ended.set()
        self.join()
        return list(self._peaks.values())[-1]
