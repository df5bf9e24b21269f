"""How much memory a process holds, and which process a pid means. Reads /proc; owns nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process costs its machine. `held_bytes`: its proportional set size now; `peak_bytes`: at its highest."""

    held_bytes: int
    peak_bytes: int


def measure(pid: int | str = "self") -> Memory | None:
    """The memory of a process; None where the kernel does not tell (not Linux, or the process is gone).

    The kernel keeps a high-water mark of the resident set only, shared pages in full. What the set has shrunk by
    since then is counted as private, which is what a forward pass allocates and frees.
    """
    held, resident, peak = pss_bytes(pid), resident_bytes(pid), peak_resident_bytes(pid)
    if held is None or resident is None or peak is None:
        return None
    return Memory(held, held + max(0, peak - resident))


def pss_bytes(pid: int | str = "self") -> int | None:
    """Proportional set size: private pages, plus each shared page divided by the processes that share it.

    None where the kernel does not tell. Source: proc_pid_smaps_rollup(5).
    """
    return read_kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:")


def resident_bytes(pid: int | str = "self") -> int | None:
    """The resident set size. None where the kernel does not tell. Source: proc_pid_status(5)."""
    return read_kilobytes(f"/proc/{pid}/status", "VmRSS:")


def peak_resident_bytes(pid: int | str = "self") -> int | None:
    """The highest resident set size so far. None where the kernel does not tell. Source: proc_pid_status(5)."""
    return read_kilobytes(f"/proc/{pid}/status", "VmHWM:")


def read_kilobytes(path: str, name: str) -> int | None:
    """The value, in bytes, of the line that begins with `name`; None when the file or the line is not there."""
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(name)), None)


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
