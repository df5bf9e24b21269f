"""How long workers truly lived, as /proc shows it from outside. Looks, and touches nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from tests.serving import Server

EVERY_S = 0.5


@dataclass
class Lives:
    """By process: when it began, and when it was last seen. `most_bytes`: the most memory seen of the server."""

    seen: dict[tuple[int, float], float] = field(default_factory=dict)
    most_bytes: int = 0

    def total_s(self) -> float:
        return sum(last - began for (_, began), last in self.seen.items())

    def alive_at(self, moment: float) -> int:
        """How many lived then."""
        return sum(began <= moment <= last + EVERY_S for (_, began), last in self.seen.items())


@contextmanager
def watched(server: Server) -> Iterator[Lives]:
    """Looks at the server's workers all the time that the block runs."""
    lives, over = Lives(), threading.Event()
    known: set[psutil.Process] = set()

    def look() -> None:
        with suppress(psutil.Error, AssertionError):
            known.update(psutil.Process(pid) for pid in server.worker_pids())
        for each in list(known):
            with suppress(psutil.Error):
                if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                    lives.seen[each.pid, each.create_time()] = time.time()
                    continue
            known.discard(each)
        if server.process is not None:
            with suppress(psutil.Error):
                lives.most_bytes = max(lives.most_bytes, psutil.Process(server.process.pid).memory_info().rss)

    def watch() -> None:
        while not over.wait(EVERY_S):
            look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lives
    finally:
        over.set()
        thread.join()
