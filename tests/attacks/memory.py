"""What an attack costs the server process: memory, CPU time, and how long others wait meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil

from tests.serving import PLAIN, REQUEST_S, Server, cpu_s, resident_bytes

MIB = 1024**2


@dataclass
class Cost:
    """`most_bytes`: the most resident memory seen beyond that at the beginning; `cpu_s`: the CPU time it used, known at
    the end; `waits_s`: how long others' requests took, one after the other, which on a busy machine says little."""

    most_bytes: int = 0
    cpu_s: float = 0.0
    waits_s: list[float] = field(default_factory=list)


@contextmanager
def measured(server: Server) -> Iterator[Cost]:
    """Looks at the server's memory and asks it for its health all the time that the block runs."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before, cpu_before_s = resident_bytes(process), cpu_s(process)
    cost, ended = Cost(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            cost.most_bytes = max(cost.most_bytes, resident_bytes(process) - before)

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=REQUEST_S, verify=PLAIN) as client:
            while not ended.is_set():
                begun = time.perf_counter()
                client.get("/health")
                cost.waits_s.append(time.perf_counter() - begun)
                ended.wait(0.05)

    threads = [threading.Thread(target=each) for each in (watch, ask)]
    for thread in threads:
        thread.start()
    try:
        yield cost
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        cost.cpu_s = cpu_s(process) - cpu_before_s


@contextmanager
def workers_measured(server: Server) -> Iterator[Cost]:
    """Looks at the memory of the workers there are: what one of them takes at most beyond what it had."""
    workers = server.workers()
    before = {worker.pid: resident_bytes(worker) for worker in workers}
    cost, ended = Cost(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            for worker in workers:
                cost.most_bytes = max(cost.most_bytes, resident_bytes(worker) - before[worker.pid])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield cost
    finally:
        ended.set()
        thread.join()
