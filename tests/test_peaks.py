"""What a watch over processes tells."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.peaks import Watch, total_bytes


@contextmanager
def idle_process() -> Iterator[int]:
    """The id of a process that waits."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print("ready", file=process.stdin, flush=True)
        process.stdout.readline()
        yield process.pid


def test_the_peak_is_of_who_came_last_though_the_others_are_first_seen_alone_when_it_has_gone() -> None:
    with ExitStack() as running:
        old, young = (running.enter_context(idle_process()) for _ in range(2))
        looks = iter([[old, young]])
        gone = threading.Event()

        def look() -> list[int]:
            if (seen := next(looks, None)) is None:
                gone.set()
            return seen or [old]

        watch = Watch(look)
        watch.start()
        gone.wait()
        assert watch.finish() > total_bytes([old])
