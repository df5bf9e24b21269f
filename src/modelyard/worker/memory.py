"""How much memory a process holds. Reads /proc; owns nothing."""

from __future__ import annotations

from pathlib import Path


def pss_bytes(pid: int | str = "self") -> int | None:
    """Proportional set size: private pages, plus each shared page divided by the processes that share it.

    None where the kernel does not tell (not Linux, or the process is gone).
    Source: proc_pid_smaps_rollup(5).
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def peak_bytes(pid: int | str = "self") -> int | None:
    """The highest resident set size so far; None where the kernel does not tell. Source: proc_pid_status(5)."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid it names a process for good.

    None when it is gone. Source: proc_pid_stat(5), field 22.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])
