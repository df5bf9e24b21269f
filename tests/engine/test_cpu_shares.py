"""How much nicer many workers are, and that all of a process is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from modelyard.engine.cpu_shares import NICE_STEP, plan_nice, plan_threads, set_nice
from modelyard.records.replicas import ReplicaSpec

THREE_THREADS = """
import threading
for _ in range(2):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
input()
"""


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 16, 50])
def test_many_workers_weigh_together_about_as_much_as_one(workers: int) -> None:
    together = workers / NICE_STEP ** plan_nice(workers)
    assert 0.85 < together < 1.15


def test_every_thread_of_a_process_becomes_nicer() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with Popen([sys.executable, "-c", THREE_THREADS], stdin=PIPE, stdout=PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        assert set_nice(other.pid, 3)
        threads = [int(each.name) for each in Path(f"/proc/{other.pid}/task").iterdir()]
        assert [os.getpriority(os.PRIO_PROCESS, each) - own for each in threads] == [3, 3, 3]
        other.communicate(b"\n")
    assert not set_nice(other.pid, 3)


@pytest.mark.parametrize(
    ("cores", "replicas", "most", "all_cores", "threads"),
    [
        (8, 1, None, False, 8),
        (8, 3, None, False, 2),
        (2, 5, None, False, 1),
        (8, 1, 4, False, 4),
        (8, 4, 4, False, 2),
        (8, 4, None, True, 8),
        (8, 4, 1, True, 1),
    ],
)
def test_a_replica_has_its_share_of_the_cores_and_no_more_threads_than_it_may(
    cores: int, replicas: int, most: int | None, all_cores: bool, threads: int
) -> None:
    spec = ReplicaSpec("in_1", "a/m", "", "text-classification", most_threads=most, all_cores=all_cores)
    assert plan_threads(cores, replicas, spec) == threads
