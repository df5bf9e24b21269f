"""How long workers truly lived, as the kernel tells it from outside. Looks, and touches nothing."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from modelyard.worker.memory import start_ticks
from tests.serving import Server, forks_of, is_alive

EVERY_S = 0.2
"""Between two looks for new processes."""
PROGRAM_S = 0.2
"""After which a process that is still its parent's program is a fork, and not about to become another one."""
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")

Process = tuple[int, int]
"""A process's id, and its start in clock ticks since boot: together they name it for good."""


def moment() -> float:
    """Seconds since boot: the clock by which the kernel tells when a process began."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass
class Lives:
    """When each process began and ended, in seconds since boot. `most_bytes`: the most memory seen of the server;
    `unseen_s`: of a life that is shorter nothing may have been seen."""

    began: dict[Process, float] = field(default_factory=dict)
    ended: dict[Process, float] = field(default_factory=dict)
    most_bytes: int = 0
    unseen_s: float = EVERY_S + PROGRAM_S

    def lived_s(self, process: Process) -> float:
        return self.ended.get(process, moment()) - self.began[process]


@contextmanager
def watched(server: Server) -> Iterator[Lives]:
    """Looks at the server's workers all the time that the block runs."""
    with Watch(server) as watch:
        threads = [threading.Thread(target=run) for run in (watch.look_for_new, watch.wait_for_ends)]
        for thread in threads:
            thread.start()
        try:
            yield watch.lives
        finally:
            watch.over.set()
            for thread in threads:
                thread.join()


class Watch:
    """Looks for new workers every now and then; the kernel says at once when one has ended, and a thread of its own
    hears it: on a busy machine a look takes more than a second."""

    def __init__(self, server: Server) -> None:
        self.lives = Lives()
        self.over = threading.Event()
        self._server = server
        self._nurseries: set[psutil.Process] = set()
        """Those that live, of orphans too: one goes on when what it was forked from has died, and forks workers."""
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        self._selector.close()

    def look_for_new(self) -> None:
        begun = moment()
        while not self.over.is_set():
            before, begun = begun, moment()
            self._look()
            self.lives.unseen_s = max(self.lives.unseen_s, moment() - before + PROGRAM_S)
            self.over.wait(EVERY_S)

    def wait_for_ends(self) -> None:
        while not self.over.is_set():
            for key, _ in self._selector.select(EVERY_S):
                self.lives.ended[key.data] = moment()
                self._selector.unregister(key.fd)
                os.close(key.fd)

    def _look(self) -> None:
        with suppress(psutil.Error, AssertionError):
            self._nurseries.update(self._server.nurseries())
        self._nurseries = {each for each in self._nurseries if is_alive(each)}
        for worker in (fork for nursery in self._nurseries for fork in forks_of(nursery)):
            self._follow(worker.pid)
        if self._server.process is not None:
            with suppress(psutil.Error):
                held = psutil.Process(self._server.process.pid).memory_info().rss
                self.lives.most_bytes = max(self.lives.most_bytes, held)

    def _follow(self, pid: int) -> None:
        ticks = start_ticks(pid)
        if ticks is None or (pid, ticks) in self.lives.began or moment() - ticks * TICK_S < PROGRAM_S:
            return
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            if start_ticks(pid) == ticks:  # else another process has the number by now
                self.lives.began[pid, ticks] = ticks * TICK_S
                self._selector.register(descriptor, selectors.EVENT_READ, (pid, ticks))
            else:
                os.close(descriptor)
