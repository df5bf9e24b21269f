"""The nursery killed, twice in a row, while boots are under way or not: the next boot is quick, and none is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest

from tests.attacks.registry import attack
from tests.builders import build
from tests.serving import Server, cpu_s, is_alive, wait_until

MODEL = "tiny/gpt2"
FORK_CPU_S = 1.0
"""More than a nursery needs that is forked (0.1 s), less than one needs that imports the model libraries (4 s)."""
USUAL_S, SETTLED_S = 0.5, 1.0
"""What a boot may take on a machine that is idle: as usual, and after the nursery's death."""


@pytest.fixture(scope="module")
def server(attacked_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("nursery")
    build("gpt2", models / MODEL)
    with attacked_server.with_models(models) as server:
        yield server


def run(server: Server) -> None:
    server.run(MODEL, text="hello", params={"max_new_tokens": 1})


def stop(server: Server) -> None:
    server.delete(MODEL)
    wait_until(lambda: server.worker_pids() == [])


def kill_nursery(server: Server) -> psutil.Process:
    """With SIGKILL, once there is one; returns it when it is gone."""
    nursery: psutil.Process = wait_until(server.nurseries)[0]
    nursery.kill()
    wait_until(lambda: not is_alive(nursery))
    return nursery


@attack
def end_the_nursery(server: Server) -> None:
    run(server)
    kill_nursery(server)
    run(server)
    server.delete(MODEL)


def assert_forked(server: Server, before: psutil.Process) -> None:
    """Another nursery runs, and has imported nothing itself."""
    (nursery,) = wait_until(server.nurseries)
    assert nursery.pid != before.pid
    assert is_alive(nursery)
    assert cpu_s(nursery) < FORK_CPU_S


def test_a_boot_after_the_nursery_was_killed_waits_for_no_import(server: Server) -> None:
    run(server)
    for _ in range(2):  # the second death is of the one that replaced the first
        killed = kill_nursery(server)
        run(server)
        assert_forked(server, killed)


def test_a_boot_during_which_the_nursery_is_killed_is_tried_again(server: Server) -> None:
    run(server)
    stop(server)
    answers: list[str] = []

    def ask() -> None:
        run(server)
        answers.append("answered")

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(server.worker_pids, every_s=0.001)
    killed = kill_nursery(server)
    asking.join(120)

    assert answers == ["answered"]
    assert_forked(server, killed)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """One whose nursery has not died before: after each that lived for less than a minute the next is waited for twice
    as long."""
    build("gpt2", tmp_path / "models" / MODEL)
    with Server(tmp_path, tmp_path / "models") as server:
        yield server


@pytest.mark.verify(part="attacks")
def test_a_boot_after_the_nursery_was_killed_takes_a_second_at_most(own_server: Server) -> None:
    """Medians of five, in turns with boots of a nursery that lives: a busy machine has longer for both."""

    def boot_s() -> float:
        started = time.monotonic()
        run(own_server)
        return time.monotonic() - started

    run(own_server)
    usual, after = [], []
    for _ in range(5):
        stop(own_server)
        usual.append(boot_s())
        kill_nursery(own_server)
        after.append(boot_s())
    assert median(after) < SETTLED_S * max(1.0, median(usual) / USUAL_S), (usual, after)


def test_a_standby_that_is_killed_is_replaced_and_takes_no_replica_along(server: Server) -> None:
    run(server)
    workers = server.worker_pids()
    (nursery,) = wait_until(server.nurseries)
    standby = nursery.parent()
    assert standby is not None
    assert server.process is not None
    assert standby.pid != server.process.pid, "there is no standby"

    standby.kill()
    wait_until(lambda: not is_alive(standby))
    run(server)
    assert all(map(psutil.pid_exists, workers))

    wait_until(server.standbys)
    nursery.kill()
    wait_until(lambda: not is_alive(nursery))
    run(server)
    assert wait_until(server.nurseries)[0].pid != nursery.pid
