"""What attacks have taken is given back: all of them in a row, against one server; and all are among them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.attacks.memory import MIB
from tests.attacks.registry import LEFT_OUT, all_attacks, modules
from tests.serving import Server, resident_bytes, wait_until

NOT_REPEATED = "It repeats the others."
GREETING = {"text": "hello", "params": {"max_new_tokens": 2}}
MOST_ABOVE_FIRST = 1.2
SETTLING_S, SETTLING_READS = 60.0, 2_000
"""What the memory may take at most to come down: so long, and so many small requests, which take longer than that on a
busy machine."""
ANSWER_S = 600.0
"""What an answer may take. On a busy machine some of what attacks ask for takes minutes, and a nursery that dies again
and again is waited for."""
SETTLED_READS = 30
"""So many of them in a row, after which it holds no less, are taken to have settled it."""
MOST_ABOVE_FRESH_BYTES = 60 * MIB


@pytest.fixture
def attacked(zoo: Path, attacked_server: Server, tmp_path: Path) -> Iterator[Server]:
    shutil.copytree(zoo, tmp_path, dirs_exist_ok=True)
    for each in all_attacks().values():
        if each.models is not None:
            each.models(tmp_path)
    with attacked_server.with_models(tmp_path) as server:
        usual, server.client.timeout = server.client.timeout, httpx.Timeout(ANSWER_S)
        server.run("tiny/gpt2", **GREETING)
        yield server
        server.client.timeout = usual


def test_every_module_registers_an_attack_or_says_why_not():
    registered = {name.partition(".")[0] for name in all_attacks()}
    for module in modules():
        name = module.__name__.rpartition(".")[2]
        reason = getattr(module, LEFT_OUT, "")
        assert (name in registered) != bool(reason), name


def held_bytes(server: Server) -> int:
    assert server.process is not None
    return resident_bytes(psutil.Process(server.process.pid))


def attack_all(server: Server) -> None:
    """Every attack, to its end."""
    for name, attack in all_attacks().items():
        begun = time.monotonic()
        attack.run(server)
        print(f"{name}: {time.monotonic() - begun:.1f} s, {held_bytes(server) // MIB} MiB")
    wait_until(lambda: server.load() == (0, 0))
    server.run("tiny/gpt2", **GREETING)


def settled_bytes(server: Server, most_bytes: int) -> int:
    """The least that it holds while it answers small requests: what is in cycles goes with the next collection.

    It is settled once it holds no more than `most_bytes` and has not come down for a while.
    """
    least, reads, since, end = held_bytes(server), 0, 0, time.monotonic() + SETTLING_S
    while (reads < SETTLING_READS or time.monotonic() < end) and (least > most_bytes or since < SETTLED_READS):
        assert server.client.get("/models/v2/list/models").status_code in {200, 429}
        held = held_bytes(server)
        least, reads, since = min(least, held), reads + 1, 0 if held < least else since + 1
    return least


def check_memory_returns(server: Server, rounds: int) -> None:
    fresh = held_bytes(server)
    attack_all(server)
    most = fresh + MOST_ABOVE_FRESH_BYTES
    first = settled_bytes(server, most)
    for _ in range(rounds - 1):
        attack_all(server)
    last = settled_bytes(server, min(most, int(first * MOST_ABOVE_FIRST)))
    figures = f"fresh {fresh // MIB} MiB, first {first // MIB} MiB, last {last // MIB} MiB"
    assert last <= first * MOST_ABOVE_FIRST, figures
    assert last <= most, figures


@pytest.mark.timeout(1200)
def test_memory_returns_after_every_attack(attacked: Server):
    check_memory_returns(attacked, 1)


@pytest.mark.verify(part="attacks")
@pytest.mark.timeout(1800)
def test_memory_returns_after_every_attack_ten_times(attacked: Server):
    check_memory_returns(attacked, 10)
