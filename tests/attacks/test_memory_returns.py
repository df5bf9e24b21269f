"""What attacks have taken is given back: all of them, twice in a row, against one server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.attacks.memory import MIB
from tests.attacks.registry import all_attacks
from tests.serving import Server, wait_until

GREETING = {"text": "hello", "params": {"max_new_tokens": 2}}
MOST_ABOVE_FIRST = 1.2
MOST_ABOVE_FRESH_BYTES = 60 * MIB


@pytest.fixture
def attacked(zoo: Path, tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, zoo) as server:
        server.run("tiny/gpt2", **GREETING)
        yield server


def held_bytes(server: Server) -> int:
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)


def attack_all(server: Server) -> int:
    """The memory of the server once every attack is over."""
    for attack in all_attacks().values():
        attack(server)
    wait_until(lambda: server.load() == (0, 0))
    server.run("tiny/gpt2", **GREETING)
    return held_bytes(server)


def check_memory_returns(server: Server, rounds: int) -> None:
    fresh = held_bytes(server)
    first, *_, last = [attack_all(server) for _ in range(rounds)]
    figures = f"fresh {fresh // MIB} MiB, first {first // MIB} MiB, last {last // MIB} MiB"
    assert last <= first * MOST_ABOVE_FIRST, figures
    assert last <= fresh + MOST_ABOVE_FRESH_BYTES, figures


def test_memory_returns_after_every_attack_twice(attacked: Server):
    check_memory_returns(attacked, 2)


@pytest.mark.verify(part="attacks")
def test_memory_returns_after_every_attack_ten_times(attacked: Server):
    check_memory_returns(attacked, 10)
