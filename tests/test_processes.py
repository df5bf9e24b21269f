"""Who has started whom, as the kernel tells it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.processes import Processes, living, program_of

PARENT = """
import os, subprocess, sys
reads, writes = os.pipe()
fork = os.fork()
if not fork:
    os.close(writes)
    os.read(reads, 1)
    os._exit(0)
with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
    print(fork, other.pid, flush=True)
    sys.stdin.read()
os.close(writes)
os.waitpid(fork, 0)
"""
"""Has a fork and another program beneath it, until its input ends."""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_forks_are_told_from_other_programs(parent: subprocess.Popen[str]) -> None:
    assert parent.stdout is not None
    fork, other = map(int, parent.stdout.readline().split())
    seen = Processes()
    assert set(seen.family(parent.pid)) == {fork, other}
    assert seen.forks(parent.pid) == [fork]
    assert list(seen.programs(parent.pid)) == [other]
    assert program_of(other) == ["cat"]
    assert {each.pid for each in living([fork, other])} == {fork, other}

    parent.communicate()
    assert living([fork, other]) == []
    assert (program_of(other), list(Processes().family(parent.pid))) == ([], [])
    assert (seen.forks(parent.pid), list(seen.programs(parent.pid))) == ([], [])
