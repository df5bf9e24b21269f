"""How much nicer many workers are, and that all of a process is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from modelyard.engine.cpu_shares import (
    NICE_STEP,
    REST_LOOKS,
    STEADY_LOOKS,
    CoreShares,
    plan_nice,
    plan_threads,
    set_nice,
)
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


def shares_after(shares: CoreShares, specs: dict[str, ReplicaSpec], *looks: set[str]) -> list[int]:
    """The threads of each replica once it was seen which were used, look by look."""
    threads = shares.plan(specs)
    for used in looks:
        shares.look(used)
        threads = shares.plan(specs)
    return [threads[replica_id] for replica_id in specs]


def replicas(*ids: str, **settings: int) -> dict[str, ReplicaSpec]:
    return {each: ReplicaSpec(each, "a/m", "", "text-classification", **settings) for each in ids}  # type: ignore[arg-type]


def test_a_replica_that_is_used_alone_has_all_cores_after_a_while_and_its_share_again_once_it_rests() -> None:
    shares, specs = CoreShares(8), replicas("a", "b", "c", "d")
    assert shares_after(shares, specs) == [2, 2, 2, 2]
    assert not shares.is_moving
    assert shares_after(shares, specs, *[{"a"}] * (STEADY_LOOKS - 1)) == [2, 2, 2, 2]
    assert shares_after(shares, specs, {"a"}) == [8, 2, 2, 2]
    assert shares_after(shares, specs, *[set()] * (REST_LOOKS - 1)) == [8, 2, 2, 2]
    assert shares.is_moving
    assert shares_after(shares, specs, set()) == [2, 2, 2, 2]
    assert not shares.is_moving


def test_cores_are_shared_among_those_in_use_at_once_when_another_is_used() -> None:
    shares, specs = CoreShares(8), replicas("a", "b", "c", "d")
    shares_after(shares, specs, *[{"a"}] * STEADY_LOOKS)
    assert shares_after(shares, specs, {"a", "b"}) == [4, 2, 2, 2]
    assert shares_after(shares, specs, *[{"a", "b"}] * STEADY_LOOKS) == [4, 4, 2, 2]
    assert shares_after(shares, specs, *[{"a", "b", "c", "d"}] * STEADY_LOOKS) == [2, 2, 2, 2]


def test_a_busy_server_has_cores_of_its_own_until_it_is_idle() -> None:
    shares, specs = CoreShares(4), replicas("a")

    def threads_beside(server_cores: float) -> int:
        for _ in range(STEADY_LOOKS):
            shares.look({"a"}, server_cores)
        return shares.plan(specs)["a"]

    assert [threads_beside(cores) for cores in (0.05, 0.15, 0.35, 0.15, 0.05, 1.5, 9.0)] == [4, 4, 3, 3, 4, 2, 1]


def test_a_server_that_was_busy_once_leaves_replicas_their_cores() -> None:
    shares, specs = CoreShares(2), replicas("a")
    for server_cores in (0.9, 0.3, 0.02, 0.9, 0.01, 0.01):
        shares.look({"a"}, server_cores)
        assert shares.plan(specs)["a"] == 2


def test_a_request_now_and_then_changes_no_threads() -> None:
    shares, specs = CoreShares(8), replicas("a", "b")
    for _ in range(5):
        assert shares_after(shares, specs, {"a"}, *[set()] * (REST_LOOKS // 2)) == [4, 4]


def test_a_used_replica_has_no_more_threads_than_it_may() -> None:
    assert shares_after(CoreShares(8), replicas("a", "b", most_threads=3), *[{"a"}] * STEADY_LOOKS) == [3, 3]


def test_replicas_that_are_gone_are_forgotten() -> None:
    shares = CoreShares(8)
    shares_after(shares, replicas("a", "b"), *[{"a"}] * STEADY_LOOKS)
    assert shares_after(shares, replicas("b")) == [8]
    assert not shares.is_moving
