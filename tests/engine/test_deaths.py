"""How a worker ended: its status, its last words and the kernel's count, and what is said of them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from modelyard.engine.deaths import describe_end, find_lack
from modelyard.records.deaths import Lack

CPP = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
RUST = "memory allocation of 1099511627776 bytes failed\n"
PYTHON = "worker ended: MemoryError: \n"
SURVIVED = "2026-11-28 15:00:00 WARNING out of memory on a batch: MemoryError\n"
OTHER = "INFO a\nINFO b\nINFO c\n"


@pytest.mark.parametrize(
    ("code", "said", "oom_kills", "lack", "words"),
    [
        (-signal.SIGABRT, CPP, 0, "limit", "killed by SIGABRT: it had no more memory"),
        (-signal.SIGABRT, OTHER + RUST, 0, "limit", "killed by SIGABRT: it had no more memory"),
        (1, OTHER + PYTHON, 0, "limit", "exited with code 1: worker ended: MemoryError:"),
        (-signal.SIGKILL, OTHER, 1, "machine", "killed by SIGKILL: the machine had no more memory"),
        (-signal.SIGKILL, CPP, 0, None, "killed by SIGKILL (the machine may have run out of memory)"),
        (-signal.SIGSEGV, SURVIVED + OTHER, 1, None, "killed by SIGSEGV"),
        (-signal.SIGABRT, "", 0, None, "killed by SIGABRT"),
        (3, "", 0, None, "exited with code 3: its log is empty"),
        (0, CPP, 0, None, "exited with code 0:   what():  std::bad_alloc"),
    ],
)
def test_memory_is_blamed_where_something_says_so(
    tmp_path: Path, code: int, said: str, oom_kills: int, lack: Lack | None, words: str
) -> None:
    log = tmp_path / "worker.log"
    log.write_text(said)
    assert find_lack(code, str(log), oom_kills) == lack
    assert describe_end(code, str(log), lack) == words


def test_a_worker_without_a_log_has_said_nothing() -> None:
    assert find_lack(-signal.SIGABRT, None, 0) is None
    assert describe_end(1, None, None) == "exited with code 1: its log is empty"
