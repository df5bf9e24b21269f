"""How a worker's process ended, and whether for want of memory: told by its status, by its last words, by the kernel.

Reads a log and the kernel's count of those it has killed. Ends nothing, and decides nothing that follows from an end.
"""

from __future__ import annotations

import signal
from pathlib import Path

from modelyard.engine.logs import last_lines
from modelyard.records.deaths import Lack
from modelyard.worker.processes import describe_status

LAST_WORDS = ("bad_alloc", "memory allocation of", "allocate memory", "MemoryError")
"""What libraries in C++, in Rust and in C, and Python, write before they end a process that gets no more memory."""
LAST_WORDS_LINES = 3
"""More would be of what came before: a request without memory that its worker has survived."""


def find_lack(code: int, log_path: str | None, oom_kills: int) -> Lack | None:
    """What a process that nobody has asked to end lacked. `code`: as `Popen.returncode`; `oom_kills`: processes that
    the kernel has killed for want of memory since this one was last seen alive."""
    if code == -signal.SIGKILL:
        return "machine" if oom_kills else None
    said = "\n".join(last_lines(log_path, LAST_WORDS_LINES))
    return "limit" if code and any(words in said for words in LAST_WORDS) else None


def describe_end(code: int, log_path: str | None, lack: Lack | None) -> str:
    """One sentence about how such a process ended."""
    if code >= 0:
        return f"{describe_status(code)}: {(last_lines(log_path, 1) or ['its log is empty'])[0]}"
    words = describe_status(code).removeprefix("was ")
    if lack is not None:
        return f"{words}: it had no more memory" if lack == "limit" else f"{words}: the machine had no more memory"
    return f"{words} (the machine may have run out of memory)" if code == -signal.SIGKILL else words


def count_oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, the machine's or a group's; 0 where it does not say.

    Source: /proc/vmstat (since Linux 4.13).
    """
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
