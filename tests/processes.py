"""Which process of this machine has started which, as it was at one moment.

psutil looks through all processes anew for each one whose children it is asked for; tests ask again and again while
they wait for replicas.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress

import psutil


class Processes:
    """All that there were when this was made, by their ids. One that has ended since runs no program."""

    def __init__(self) -> None:
        self._children: defaultdict[int, list[int]] = defaultdict(list)
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):  # it has just ended
                self._children[parent_of(name)].append(int(name))

    def children(self, pid: int) -> list[int]:
        """Those that it has started."""
        return self._children[pid]

    def family(self, pid: int) -> Iterator[int]:
        """Those that it has started, directly or not."""
        for child in self.children(pid):
            yield child
            yield from self.family(child)

    def forks(self, pid: int) -> list[int]:
        """Its children that are the same program."""
        program = program_of(pid)
        return [child for child in self.children(pid) if program and program_of(child) == program]

    def programs(self, pid: int) -> Iterator[int]:
        """Of its family, those that are another program than their parent."""
        for child in self.children(pid):
            if program_of(child) != program_of(pid):
                yield child
            yield from self.programs(child)


def parent_of(pid: str) -> int:
    """Raises OSError when there is no such process. Source: proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[1])


def program_of(pid: int) -> list[str]:
    """A process's command line; none of one that has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return os.fsdecode(line.read()).split("\0")[:-1]
    except OSError:
        return []


def living(pids: Iterable[int]) -> list[psutil.Process]:
    """Those that have not ended."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found
