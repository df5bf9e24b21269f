"""The most that some processes hold together, seen from outside: what reported figures are compared with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from modelyard.worker.memory import pss_bytes

SAMPLE_EVERY_S = 0.01


def total_bytes(pids: Iterable[int]) -> int:
    """What the processes hold together: their proportional set sizes add up."""
    return sum(pss_bytes(pid) or 0 for pid in pids)


class Watch(threading.Thread):
    """Samples the sum until told to stop; `peak_bytes`: the highest so far."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        """`pids`: the processes there are at this moment."""
        super().__init__(daemon=True)
        self._pids = pids
        self._ended = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        """Samples."""
        while not self._ended.wait(SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, total_bytes(self._pids()))

    def finish(self) -> int:
        """The peak."""
        self._ended.set()
        self.join()
        return self.peak_bytes
