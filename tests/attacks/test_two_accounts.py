"""Two accounts on one server: whatever the one does within its quota, the other is answered, and billed exactly."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest

from tests.attacks.hostile_account import GENERATOR, OTHER
from tests.attacks.test_strangers import add_account
from tests.serving import Server, wait_until

NOT_REPEATED = "Its hostile account does at once, and for minutes, what other modules do one by one."

CLASSIFIER = "tiny/classifier"
QUOTA = 4
MINIMUM_S, ROUND_S, PRICE = 7, 3, Fraction(1, 10)
"""The terms of the bill: seconds, seconds, US dollars per GB and second."""
GIB, NANO = 2**30, 10**9
TURNS = 10


@dataclass
class Asked:
    """What the honest account asked and was answered. `took_s`: each request."""

    statuses: Counter[int] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)

    def add(self, more: Asked) -> None:
        self.statuses += more.statuses
        self.took_s += more.took_s

    def p99_s(self) -> float:
        return sorted(self.took_s)[len(self.took_s) * 99 // 100]


@pytest.fixture
def server(zoo: Path, tmp_path: Path) -> Iterator[Server]:
    terms = ("--billing-minimum-s", str(MINIMUM_S), "--billing-round-s", str(ROUND_S))
    with Server(tmp_path, zoo, *terms, "--price-per-gb-s", str(float(PRICE))) as server:
        yield server


@contextmanager
def accounts(server: Server) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """The honest account and the hostile one, whose quota is in force."""
    with add_account(server, "ada") as ada, add_account(server, "eve") as eve:
        server.command("accounts", "set", "eve", "--max-instances", str(QUOTA))
        time_to_heed = time.monotonic() + 60
        while eve.put(f"/models/v2/{OTHER}", json={"capacity": {"min": QUOTA + 1}}).status_code == 202:
            assert time.monotonic() < time_to_heed
        eve.delete(f"/models/v2/{OTHER}")
        yield ada, eve


def ask(client: httpx.Client, for_s: float, every_s: float = 0.05) -> Asked:
    """Asks a small classifier again and again."""
    asked, end = Asked(), time.monotonic() + for_s
    while time.monotonic() < end:
        begun = time.monotonic()
        answer = client.post(f"/models/v2/{CLASSIFIER}", json={"text": "the cat sat on the mat"})
        asked.took_s.append(time.monotonic() - begun)
        asked.statuses[answer.status_code] += 1
        time.sleep(max(0.0, begun + every_s - time.monotonic()))
    return asked


@contextmanager
def hostile(eve: httpx.Client) -> Iterator[subprocess.Popen[bytes]]:
    """The other account does its worst for as long as the block runs."""
    full = {"min": QUOTA - 1, "desired": QUOTA - 1, "max": QUOTA}
    assert eve.put(f"/models/v2/{GENERATOR}", json={"capacity": full}).status_code == 202
    command = [sys.executable, "-m", "tests.attacks.hostile_account", str(eve.base_url), eve.headers["authorization"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        yield process
        process.communicate()
    assert process.returncode == 0


@contextmanager
def paused(process: subprocess.Popen[bytes], server: Server) -> Iterator[None]:
    """It asks for nothing within the block, and what it has asked for is over."""
    process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: server.load() == (0, 0))
        yield
    finally:
        process.send_signal(signal.SIGCONT)


# --- the honest account's bill ---


def check_bill(ada: httpx.Client, requests: int) -> None:
    """That it has what was asked and nothing else, and that every amount is what the formula says of its interval."""
    ada.delete(f"/models/v2/{CLASSIFIER}")
    usage = ada.get("/models/v2/usage", params={"lines": "true"}).json()["output"]
    lines = usage["lines"]
    assert {line["modelId"] for line in lines} == {CLASSIFIER}
    assert [line["open"] for line in lines] == [False]
    for line in lines:
        assert line["costNano"] == amount_nano(line)
    assert usage["total"]["costNano"] == sum(line["costNano"] for line in lines)
    assert usage["total"]["requests"] == requests


def amount_nano(line: dict[str, Any]) -> int:
    """What an instance costs, by the formula of the documentation, in exact arithmetic."""
    seconds = moment(line["to"]) - moment(line["from"])
    billed_s: Fraction | int = MINIMUM_S if seconds <= MINIMUM_S else math.ceil(seconds / ROUND_S) * ROUND_S
    memory_bytes = round(line["ramRequired"] * GIB)
    return math.floor(Fraction(memory_bytes, GIB) * billed_s * PRICE * NANO + Fraction(1, 2))


def moment(text: str) -> Fraction:
    """An ISO time as seconds, exactly."""
    at = datetime.fromisoformat(text)
    return int(at.replace(microsecond=0).timestamp()) + Fraction(at.microsecond, 10**6)


def test_beside_a_hostile_account_the_other_is_answered_and_billed_exactly(server: Server) -> None:
    with accounts(server) as (ada, eve):
        ask(ada, 0.0)
        with hostile(eve):
            asked = ask(ada, 3.0)
        assert set(asked.statuses) == {200}, asked.statuses
        check_bill(ada, asked.statuses[200])


@pytest.mark.verify(part="attacks")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("for_s", [300.0])
def test_beside_a_hostile_account_the_others_slowest_requests_take_up_to_three_times_as_long(
    server: Server, for_s: float
) -> None:
    """With it and without in turns: whatever else the machine has to do, it does beside both."""
    others, alone, beside = Asked(), Asked(), Asked()
    with accounts(server) as (ada, eve):
        others.add(ask(ada, 2.0))
        with hostile(eve) as process:
            others.add(ask(ada, for_s / 30))  # the hostile one's replicas boot: that is measured too, but not here
            for _ in range(TURNS):
                with paused(process, server):
                    alone.add(ask(ada, for_s / TURNS / 10))
                beside.add(ask(ada, for_s / TURNS))
        print(
            f"alone p50 {median(alone.took_s) * 1000:.1f} p99 {alone.p99_s() * 1000:.1f} ms; "
            f"beside p50 {median(beside.took_s) * 1000:.1f} p99 {beside.p99_s() * 1000:.1f} ms"
        )
        asked = sum((each.statuses for each in (others, alone, beside)), Counter[int]())
        assert set(asked) == {200}, asked
        check_bill(ada, asked[200])
        assert beside.p99_s() <= 3 * alone.p99_s()
