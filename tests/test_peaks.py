"""What a watch over processes tells."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.peaks import Watch, total_bytes

PEAK_BYTES = 64 * 2**20
HAS_HELD = f"import sys; len(b'x' * {PEAK_BYTES}); print(sys.stdin.readline(), flush=True); sys.stdin.read()"
"""Before it answers, this program has held so much, for a moment."""


@contextmanager
def idle_process(*command: str) -> Iterator[int]:
    """The id of a process that has answered a line, and waits."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print("ready", file=process.stdin, flush=True)
        process.stdout.readline()
        yield process.pid


def watched(*looks: list[int]) -> int:
    """What a watch tells that has had these looks. `looks`: the processes that there are at each, the youngest last."""
    to_come, over = iter(looks), threading.Event()

    def look() -> list[int]:
        if (seen := next(to_come, None)) is None:
            over.set()
        return seen or []

    watch = Watch(look)
    watch.start()
    over.wait()
    return watch.finish()


def test_the_peak_is_of_who_came_last_though_the_others_are_first_seen_alone_when_it_has_gone() -> None:
    with idle_process("cat") as old, idle_process("cat") as young:
        assert watched([old, young], [old]) > total_bytes([old])


def test_a_peak_counts_that_was_over_before_anybody_looked() -> None:
    with idle_process("cat") as old, idle_process(sys.executable, "-S", "-c", HAS_HELD) as young:
        assert watched([old, young]) > total_bytes([old, young]) + PEAK_BYTES // 2
