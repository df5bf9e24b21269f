"""Gathers this process's own memory in large pages, so that its forks begin and end sooner. Linux only.

A fork copies its parent's page table, an entry for each 4 KB, and takes it apart when it ends. With the model libraries
imported that is 75,000 entries; in pages of 2 MB it is 150. What a fork writes to is copied in 4 KB all the same.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MADV_COLLAPSE = 25
"""Source: madvise(2), Linux 6.1; an earlier kernel refuses it."""
LARGE_PAGE_BYTES = 2 * 1024**2
_OWN = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?")
"""A mapping of no file that may be written to. Source: proc_pid_maps(5)."""


def gather_in_large_pages() -> int:
    """Takes some tenths of a second; how many bytes lie in large pages then. What the kernel does not gather, as it has
    no free page of that size, stays as it is."""
    if sys.platform != "linux":
        return 0
    advise = ctypes.CDLL(None).madvise
    return sum(
        size
        for start, size in own_memory()
        if advise(ctypes.c_void_p(start), ctypes.c_size_t(size), ctypes.c_int(MADV_COLLAPSE)) == 0
    )


def own_memory() -> Iterator[tuple[int, int]]:
    """Where this process's own memory begins and how much of it there is, as far as it fills large pages."""
    for line in Path("/proc/self/maps").read_text(encoding="ascii", errors="replace").splitlines():
        if (found := _OWN.fullmatch(line)) is not None:
            begin, end = (int(each, 16) for each in found.groups())
            start = -(-begin // LARGE_PAGE_BYTES) * LARGE_PAGE_BYTES
            size = end // LARGE_PAGE_BYTES * LARGE_PAGE_BYTES - start
            if size > 0:
                yield start, size
