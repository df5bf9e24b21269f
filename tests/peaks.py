"""The most that some processes hold together, seen from outside: what reported figures are compared with."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from modelyard.worker.memory import peak_resident_bytes, read_kilobytes

SAMPLE_EVERY_S = 0.01
FILES_EVERY_S = 0.2
"""Looking through page maps takes long, and which pages of files are mapped changes little once a model works."""
PAGE_BYTES = 4096

_MAPPED_FILE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) (\S+) ([1-9]\d*) ", re.MULTILINE)
"""Start, end, offset, device and inode of a mapping that is not anonymous. Source: proc_pid_maps(5)."""
_ROLLED_UP = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)
_PRESENT, _OF_A_FILE = 0x80, 0x20
"""Bits 63 and 61 of a page's entry, in its highest byte. Source: proc_pid_pagemap(5)."""
_IS_MAPPED = bytes(bool(high & _PRESENT and high & _OF_A_FILE) for high in range(256))

Pages = dict[tuple[str, ...], int]
"""(device, inode) → which pages of that file are mapped, one byte each, in one number."""


def pss_bytes(pid: int | str = "self") -> int | None:
    """Proportional set size: private pages, plus each shared page divided by the processes that share it.

    None where the kernel does not tell. Source: proc_pid_smaps_rollup(5).
    """
    return read_kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:")


def total_bytes(pids: Iterable[int]) -> int:
    """What the processes hold together, whoever else on the machine maps the same files.

    The sum of their proportional set sizes is less where a neighbour has the same libraries mapped: then the code
    that these processes run is charged to it by halves.
    """
    pids = list(pids)
    return anonymous_bytes(pids) + file_bytes(pids)


def anonymous_bytes(pids: Iterable[int]) -> int:
    """Their pages that belong to no file. Such a page is shared by forks of one process only, so proportions add up."""
    return sum(read_kilobytes(f"/proc/{pid}/smaps_rollup", "Pss_Anon:") or 0 for pid in pids)


def file_bytes(pids: Iterable[int], besides: int | None = None) -> int:
    """The pages of files that at least one of them has mapped, each counted once; none that the process `besides` has
    mapped as well."""
    own = {} if besides is None else mapped_pages(besides)
    together: Pages = {}
    for pid in pids:
        for file, pages in mapped_pages(pid).items():
            together[file] = together.get(file, 0) | pages
    return PAGE_BYTES * sum((pages & ~own.get(file, 0)).bit_count() for file, pages in together.items())


def own_peak_bytes(pid: int) -> int | None:
    """The most that a process has held so far, however briefly: the kernel's mark, less what others are charged of
    pages that it has from the process that forked it. None when it is gone.

    Sources: proc_pid_status(5), proc_pid_smaps_rollup(5).
    """
    peak = peak_resident_bytes(pid)
    try:
        now = dict(_ROLLED_UP.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()))
    except OSError:
        return None
    return None if peak is None else peak - 1024 * (int(now["Anonymous"]) - int(now["Pss_Anon"]))


def mapped_pages(pid: int) -> Pages:
    """The pages of files that a process has mapped; none when it is gone."""
    found: Pages = {}
    try:
        mappings = _MAPPED_FILE.findall(Path(f"/proc/{pid}/maps").read_text())
        with Path(f"/proc/{pid}/pagemap").open("rb") as entries:
            for start, end, offset, *file in mappings:
                first, last, skipped = (int(number, 16) // PAGE_BYTES for number in (start, end, offset))
                entries.seek(8 * first)
                flags = entries.read(8 * (last - first))[7::8].translate(_IS_MAPPED)
                key = tuple(file)
                found[key] = found.get(key, 0) | int.from_bytes(flags, "little") << (8 * skipped)
    except OSError:
        return {}
    return found


class Watch(threading.Thread):
    """Watches what processes hold together until told to stop.

    The youngest's peak is the kernel's, and beside it counts what the others held when both were last seen. Samples
    would miss peaks: on a busy machine half a second goes by between two of them.
    """

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        """`pids`: the processes there are at this moment, the youngest last."""
        super().__init__(daemon=True)
        self._pids = pids
        self._ended = threading.Event()
        self._peaks: dict[int, int] = {}
        """In the order in which they came; of one that never was the youngest, 0."""
        self._others_file_bytes = 0
        self._files_due_at = 0.0

    def run(self) -> None:
        """Samples."""
        while not self._ended.wait(SAMPLE_EVERY_S):
            if pids := self._pids():
                self._sample(pids)

    def _sample(self, pids: Sequence[int]) -> None:
        *others, youngest = pids
        if youngest not in self._peaks or time.monotonic() >= self._files_due_at:
            self._others_file_bytes = file_bytes(others, besides=youngest)
            self._files_due_at = time.monotonic() + FILES_EVERY_S
        for pid in pids:
            self._peaks.setdefault(pid, 0)
        of_others = anonymous_bytes(others) + self._others_file_bytes
        own = own_peak_bytes(youngest)  # read last: once it has gone, the others are charged for more
        if own is not None:
            self._peaks[youngest] = of_others + own

    def finish(self) -> int:
        """The peak while the process that came last was there."""
        self._ended.set()
        self.join()
        return list(self._peaks.values())[-1]
