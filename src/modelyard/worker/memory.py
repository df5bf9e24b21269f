"""How much memory a process holds, and which process a pid means; what its allocator keeps is given back. Reads /proc;
owns nothing but what it has read."""

from __future__ import annotations

import ctypes
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_MAPPING = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ [-rwxsp]{4} [0-9a-f]+ \S+ \d+ *(?P<path>.*)\n"
    rb"(?:.*\n)*?Rss: +(?P<rss>\d+) kB\n"
    rb"(?:.*\n)*?Private_Clean: +(?P<clean>\d+) kB\n"
    rb"Private_Dirty: +(?P<dirty>\d+) kB\n",
    re.MULTILINE,
)
"""One mapping in smaps. Source: proc_pid_smaps(5)."""


STEP_BYTES = 1024**2
"""Smaller changes are not worth telling."""
REST_S = 30.0
"""After so long a process is measured whatever its resident set says: that does not change when it writes to a page
that it has shared until then."""
DEVICE_CONTEXT_BYTES = 512 * 1024**2
"""What a process takes of an accelerator besides what it allocates: the driver's context and the code that was loaded.
Known of data-centre devices to be 300 to 500 MB; not measured here."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process costs its machine, whoever runs beside it. `held_bytes`: now; `peak_bytes`: at its highest.

    `device_bytes`: the most it has held on an accelerator; None: it uses none.
    """

    held_bytes: int
    peak_bytes: int
    device_bytes: int | None = None


class Gauge:
    """Measures one process from its start on. Made in a fork, before that has mapped anything of its own.

    What counts must not depend on neighbours, as a proportional set size does: of the model libraries' memory that a
    fork shares with the nursery its first replica would be charged half, its third a quarter; of one model's weights
    a third replica a third. So these count:

    - private pages that it has written;
    - pages of files that it has mapped itself, in full: the weights, and libraries that the nursery did not have;
    - pages of libraries that the nursery has mapped too, all but those that others were seen to hold as well at the
      first measurement, which is when the model has loaded: what is left is the code that computes, which the nursery
      never runs.
    """

    def __init__(self, pid: int | str = "self") -> None:
        self._pid = pid
        self._inherited = mapped_files(pid)
        self._shared_at_first: int | None = None
        self._seen_bytes = 0, 0
        self._measured_at = -REST_S

    def has_moved(self) -> bool:
        """Whether `measure` may find something else than the last time. Takes 0.15 ms, where that takes 15 in which the
        process can map no memory: a request that has to waits for it."""
        if time.monotonic() - self._measured_at >= REST_S:
            return True
        seen = resident_bytes(self._pid) or 0, peak_resident_bytes(self._pid) or 0
        return any(abs(now - before) >= STEP_BYTES for now, before in zip(seen, self._seen_bytes, strict=True))

    def measure(self) -> Memory | None:
        """None where the kernel does not tell (not Linux, or the process is gone). Some 25 ms for 900 mappings.

        The kernel keeps a high-water mark of the resident set. What that has shrunk by since then is what a forward
        pass has allocated and freed, and counts towards the peak.
        """
        resident, peak = resident_bytes(self._pid), peak_resident_bytes(self._pid)
        try:
            mappings = _MAPPING.findall(Path(f"/proc/{self._pid}/smaps").read_bytes())
        except OSError:
            return None
        if resident is None or peak is None:
            return None
        self._seen_bytes, self._measured_at = (resident, peak), time.monotonic()
        held = libraries = shared = 0
        for path, rss, clean, dirty in mappings:
            if not path.startswith(b"/"):
                held += int(clean) + int(dirty)
            elif path in self._inherited:
                held += int(dirty)
                libraries += int(rss) - int(dirty)
                shared += int(rss) - int(dirty) - int(clean)
            else:
                held += int(rss)
        if self._shared_at_first is None:
            self._shared_at_first = shared
        held = (held + max(0, libraries - self._shared_at_first)) * 1024
        return Memory(held, held + max(0, peak - resident))


def release_freed_memory() -> None:
    """Gives what this process has freed back to the machine, where its allocator keeps it: after texts were written, as
    much as their caches took. Takes some milliseconds; on any thread. Source: malloc_trim(3)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def mapped_files(pid: int | str = "self") -> frozenset[bytes]:
    """The files that a process has mapped; none where the kernel does not tell. Source: proc_pid_maps(5)."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
    except OSError:
        return frozenset()
    return frozenset(b"/" + path for line in lines if (path := line.partition(b"/")[2]))


def resident_bytes(pid: int | str = "self") -> int | None:
    """The resident set size. None where the kernel does not tell. Source: proc_pid_status(5)."""
    return read_kilobytes(f"/proc/{pid}/status", "VmRSS:")


def peak_resident_bytes(pid: int | str = "self") -> int | None:
    """The highest resident set size so far. None where the kernel does not tell. Source: proc_pid_status(5)."""
    return read_kilobytes(f"/proc/{pid}/status", "VmHWM:")


def data_bytes(pid: int | str = "self") -> int | None:
    """Private writable memory as it was reserved. None where the kernel does not tell. Source: proc_pid_status(5)."""
    return read_kilobytes(f"/proc/{pid}/status", "VmData:")


def read_kilobytes(path: str, name: str) -> int | None:
    """The value, in bytes, of the line that begins with `name`; None when the file or the line is not there."""
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(name)), None)


def count_threads(pid: int) -> int:
    """How many threads a process has; 0 when it is gone. Source: proc_pid_stat(5), field 20."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[17])


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid it names a process for good.

    None when it is gone; one that is dead but not yet reaped is gone. Source: proc_pid_stat(5), fields 3 and 22.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])
