"""Launches that are taken back, or that a credit does not last for: they cost nobody else time, and pass no credit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest

from tests.attacks.registry import attack
from tests.builders import build
from tests.serving import KEY, PLAIN, REQUEST_S, Server, wait_until

HOSTILE, HONEST = "tiny/gpt2", "tiny/t5"
SLOW = "own/slow"
SLOW_CODE = """
import time
from transformers import BertConfig


class SlowConfig(BertConfig):
    model_type = "slow"


time.sleep(3600)
"""
"""While it loads, so that it never gets ready."""
TAKEN_BACK = 3
CHANGES, MANY_CHANGES = 60, 200
FEW_REPLICAS, REPLICAS = 4, 16
BOOTS = 3
PRICE = "0.1"
"""US dollars per GB and second: a launch of a tiny model costs at least half a dollar."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("launches")
    for family in ("gpt2", "t5"):
        build(family, root / "tiny" / family)
    build("bert_classifier", root / SLOW)
    config = root / SLOW / "config.json"
    own = {"model_type": "slow", "auto_map": {"AutoConfig": "slow.SlowConfig"}}
    config.write_text(json.dumps({**json.loads(config.read_text()), **own}))
    (root / SLOW / "slow.py").write_text(SLOW_CODE)
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Server]:
    flags = ("--price-per-gb-s", PRICE, "--rate-limit", "0", "--allow-unsafe", SLOW)
    with Server(tmp_path_factory.mktemp("launches-server"), models, *flags) as server:
        yield server


def cold_boot_s(server: Server) -> float:
    """Seconds from PUT to the first answer of the honest account."""
    started = time.monotonic()
    assert server.put(HONEST).status_code == 202
    server.run(HONEST, text="hello", params={"max_new_tokens": 1})
    took_s = time.monotonic() - started
    server.delete(HONEST)
    return took_s


def switch_on_and_off(server: Server, replicas: int, changes: int) -> None:
    """Asks for so many launches, and takes them back, again and again."""
    server.put(HOSTILE, capacity={"min": replicas, "desired": replicas, "max": replicas})
    for number in range(changes):
        answer = server.client.patch(f"/models/v2/{HOSTILE}", json={"status": "off" if number % 2 else "on"})
        assert answer.status_code in (200, 202), answer.text


@attack
def take_launches_back(server: Server) -> None:
    switch_on_and_off(server, 4, 40)
    server.delete(HOSTILE)


def launched(server: Server) -> int:
    """How many of the hostile account's instances have been started until now."""
    rows = usage(server, {"authorization": f"Key {KEY}"})["rows"]
    return sum(row["instances"] for row in rows if row["modelId"] == HOSTILE)


@pytest.mark.parametrize(
    ("replicas", "changes"),
    [(FEW_REPLICAS, CHANGES), pytest.param(REPLICAS, MANY_CHANGES, marks=pytest.mark.verify(part="attacks"))],
)
def test_a_cluster_that_is_switched_on_and_off_delays_nobody_elses_boots(
    server: Server, replicas: int, changes: int
) -> None:
    """What is still to be done of the changes is a handful of forks, whatever the number of changes."""
    switch_on_and_off(server, replicas, changes)

    before = launched(server)
    cold_boot_s(server)
    beside = launched(server) - before
    server.delete(HOSTILE)

    assert beside <= replicas, f"of those that were taken back, of which there are {changes // 2} times as many"


@pytest.mark.verify(part="attacks")
def test_a_cluster_that_is_switched_on_and_off_makes_nobody_wait(server: Server) -> None:
    alone_s = median(cold_boot_s(server) for _ in range(BOOTS))
    switch_on_and_off(server, REPLICAS, MANY_CHANGES)

    beside_s = cold_boot_s(server)
    server.delete(HOSTILE)

    # Half a second more. Done one after the other, the launches would take a minute.
    assert beside_s < 10 * alone_s + 10.0, (alone_s, beside_s)


def test_a_credit_lasts_for_every_instance_that_is_launched(server: Server) -> None:
    key = server.command("keys", "create", "poor", "--account", "poor")
    server.command("accounts", "set", "poor", "--monthly-limit", "1")
    headers = {"authorization": f"Key {key}"}
    wait_until(lambda: usage(server, headers)["funds"] is not None)

    with httpx.Client(base_url=server.url, headers=headers, timeout=REQUEST_S, verify=PLAIN) as poor:
        poor.put(f"/models/v2/{HOSTILE}", json={"capacity": {"min": 8, "desired": 8, "max": 8}})
        wait_until(lambda: poor.get(f"/models/v2/{HOSTILE}").json()["output"]["ready"] >= 1)
        # Funds are counted every ten seconds; then whatever was launched is on the bill.
        wait_until(lambda: usage(server, headers)["funds"]["left"] < 1)
        poor.delete(f"/models/v2/{HOSTILE}")

    assert usage(server, headers)["total"]["cost"] <= 1


def test_boots_that_are_taken_back_are_paid_for_once_they_were_started(server: Server) -> None:
    for _ in range(TAKEN_BACK):
        assert server.put(SLOW, capacity={"min": 1, "desired": 1, "max": 1}).status_code == 202
        server.wait_for(SLOW, status="loading")
        server.client.patch(f"/models/v2/{SLOW}", json={"status": "off"})
        wait_until(lambda: server.worker_pids() == [])
        assert server.delete(SLOW).status_code == 200

    rows = usage(server, {"authorization": f"Key {KEY}"})["rows"]
    ours = [row for row in rows if row["modelId"] == SLOW]
    assert sum(row["instances"] for row in ours) == TAKEN_BACK, rows
    assert all(row["cost"] > 0 for row in ours)


def usage(server: Server, headers: dict[str, str]) -> dict[str, Any]:
    response = httpx.get(f"{server.url}/models/v2/usage", headers=headers, timeout=REQUEST_S, verify=PLAIN)
    assert response.status_code == 200, response.text
    return dict(response.json()["output"])
