"""What a server keeps does not grow for ever: outputs of replicas, lines of logs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.registry import attack
from tests.serving import Server, wait_until

MODEL = "tiny/classifier"
MB = 2**20
OUTPUT_MB = 12
LINES = 30


@pytest.fixture(scope="module")
def server(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps little, with one replica."""
    limits = {"MODELYARD_LOG_MB": "2", "MODELYARD_LOGS_MB": "4", "MODELYARD_EVENT_LINES": str(LINES)}
    with Server(tmp_path_factory.mktemp("growth"), zoo, **limits) as running:
        running.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1})
        running.run(MODEL, text="hello")
        leave_outputs(running)
        yield running


def leave_outputs(server: Server) -> None:
    """Writes those of six replicas that have ended. The server looks every ten seconds: all tests wait for one look."""
    (live,) = server.data_dir.glob("logs/*/*/*.log")
    for number in range(6):
        path = live.with_name(f"20200101-00000{number}-000000-in_{number}.log")
        path.write_bytes(b"x" * MB)
        os.utime(path, (1_577_836_800 + number, 1_577_836_800 + number))


def live_log(server: Server) -> Path:
    """Where the one replica that lives writes."""
    return max(server.data_dir.glob("logs/*/*/*.log"))


def size_of(path: Path) -> int:
    """None of a file that is gone by now, and of a folder."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def log_bytes(server: Server) -> int:
    return sum(map(size_of, (server.data_dir / "logs").rglob("*")))


def test_the_output_of_a_replica_is_cut_while_it_is_written_to(server: Server) -> None:
    path = live_log(server)

    def held_bytes() -> int:
        """With what was cut off and kept."""
        return sum(map(size_of, path.parent.glob(f"{path.name}*")))

    # As the replica does: at the end of the file, wherever that is.
    writer = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        for number in range(OUTPUT_MB):
            os.write(writer, b"a line of a model's output\n" * (MB // 27))
            if number == OUTPUT_MB // 2:
                wait_until(lambda: held_bytes() <= 2 * MB)
        wait_until(lambda: held_bytes() <= 2 * MB)
        os.write(writer, b"the last line\n")
    finally:
        os.close(writer)
    logs = server.client.get(f"/models/v2/logs/{MODEL}").text
    assert "the last line" in logs
    assert "a line of a model" in logs
    assert path.exists(), "a replica still has it open"
    server.run(MODEL, text="hello")


def test_outputs_of_replicas_that_have_ended_are_kept_up_to_a_size(server: Server) -> None:
    wait_until(lambda: log_bytes(server) <= 4 * MB)
    assert live_log(server).exists()


def write_lines(server: Server, changes: int) -> None:
    """Switches a cluster off and on so many times; each writes lines into its log."""
    for number in range(changes):
        for status in ("off", "on"):
            assert server.client.patch(f"/models/v2/{MODEL}", json={"status": status}).status_code == 200, number


@attack
def write_many_lines(server: Server) -> None:
    server.put(MODEL, capacity={"min": 0, "desired": 0, "max": 1})
    write_lines(server, LINES)
    server.delete(MODEL)


def test_a_cluster_keeps_the_newest_lines_of_its_log(server: Server) -> None:
    server.put(MODEL, capacity={"min": 0, "desired": 0, "max": 1})  # a boot for each line is no part of this
    write_lines(server, LINES)
    wait_until(lambda: len(server.events(MODEL)) > 2 * LINES)
    newest = server.events(MODEL)[-5:]
    server.kill()
    server.start(warm=False, boots=False)  # it deletes at its start, and every hour
    wait_until(lambda: len(server.events(MODEL)) <= LINES + 10)
    assert newest[-1] in server.events(MODEL)
