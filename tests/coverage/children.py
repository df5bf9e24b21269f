"""Runs cases in processes of their own, forked from one that has imported the library, within limits of time and
memory: a model that crashes, hangs or grows ends its own case only."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

from tests.coverage.cases import Case, Finding, Part, Status

CASE_TIMEOUT_S = 180
"""Of one case. The slowest takes a tenth of that on a machine with nothing else to do."""
CASE_MEMORY_BYTES = 6 * 1024**3
"""Of address space that one case may add. Tiny models take under one."""
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class _Child:
    case: Case
    process: ForkProcess
    answer: Connection
    started: float


def run_cases(part: Part, cases: Sequence[Case], processes: int) -> Iterator[tuple[Case, Finding, float]]:
    """Each case with what was found and the seconds it took, as they end, `processes` at a time."""
    waiting, children = list(reversed(cases)), list[_Child]()
    while waiting or children:
        while waiting and len(children) < processes:
            children.append(_start(part, waiting.pop()))
        wait([child.answer for child in children], timeout=1.0)
        for child in list(children):
            finding = _find(child)
            if finding is not None:
                children.remove(child)
                yield child.case, finding, time.monotonic() - child.started


def _start(part: Part, case: Case) -> _Child:
    here, there = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_check, args=(part, case, there), name=case.id)
    process.start()
    there.close()
    return _Child(case, process, here, time.monotonic())


def _find(child: _Child) -> Finding | None:
    """What a child has found, or how it ended; None while it is at work."""
    if child.answer.poll():
        try:
            finding: Finding = child.answer.recv()
        except EOFError:
            child.process.join()
            finding = _ended(f"the process ended with {child.process.exitcode}")
    elif time.monotonic() - child.started > CASE_TIMEOUT_S:
        finding = _ended(f"no answer within {CASE_TIMEOUT_S} s")
    else:
        return None
    child.process.kill()
    child.process.join()
    child.answer.close()
    return finding


def _ended(how: str) -> Finding:
    return Finding(Status.NOT_BUILT, detail=how)


def _check(part: Part, case: Case, answer: Connection) -> None:
    """In the child."""
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + CASE_MEMORY_BYTES, now + CASE_MEMORY_BYTES))
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
        try:
            finding = part.check(case, Path(folder))
        except BaseException as error:
            finding = Finding(Status.NOT_BUILT, detail=describe(error))
    answer.send(finding)
    answer.close()
    os._exit(0)


def describe(error: BaseException) -> str:
    """An error in at most 300 characters, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines) or 'no message'}"[:300]
