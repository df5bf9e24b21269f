"""A server that is killed under load: what it bills is what its replicas lived, within a heartbeat for each kill.

The short form is in test_billing: one kill, between requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.serving import KEY, Server, is_alive, wait_until

MODEL = "tiny/classifier"
HEARTBEAT_S = 10.0
CLIENTS = 4
LIVES_S = (25.0, 12.0, 3.0, 17.0)
MARGIN_S = 2.0
"""By how much later than it is due a busy machine runs a heartbeat."""
ROUNDED_S = 0.1
LOST_S = 3.0
"""How long before a kill an answer may have been given that is on no bill: a busy machine writes late."""


@contextmanager
def load(server: Server) -> Iterator[dict[str, float]]:
    """Clients that ask one request after the other; the ids of those that were answered, and when each was."""
    answered: dict[str, float] = {}
    over = Event()

    def ask_on() -> None:
        with server.client_of(KEY) as client:
            while not over.is_set():
                try:
                    answer = client.post(f"/models/v2/{MODEL}", json={"text": "hello"})
                except httpx.HTTPError:  # the server was killed with it, or is not there yet
                    over.wait(0.02)
                else:
                    if answer.status_code == 200:
                        assert answer.headers["x-request-id"] not in answered
                        answered[answer.headers["x-request-id"]] = time.monotonic()

    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask_on) for _ in range(CLIENTS)]
        try:
            yield answered
        finally:
            over.set()
            for each in asking:
                each.result()


def lines(server: Server) -> list[dict[str, Any]]:
    answer = server.client.get("/models/v2/usage", params={"lines": "true"})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["output"]["lines"])


@pytest.mark.verify(part="attacks")
def test_the_bill_is_what_replicas_lived_within_a_heartbeat_for_each_kill(zoo: Path, tmp_path: Path) -> None:
    terms = {"MODELYARD_BILLING_MINIMUM_S": "0", "MODELYARD_BILLING_ROUND_S": "0"}
    least_s: list[float] = []
    most_s: list[float] = []
    killed_at: list[float] = []
    with Server(tmp_path, zoo, **terms) as server:
        unready_at = time.monotonic()
        server.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1})
        unready_at, ready_at = see_ready(server, unready_at)
        with load(server) as answered:
            for life_s in LIVES_S:
                wait_until(lambda life_s=life_s: newest(server)["seconds"] >= life_s)
                worker = server.worker()
                least_s.append(time.monotonic() - ready_at)
                killed_at.append(time.monotonic())
                server.kill()
                most_s.append(time.monotonic() - unready_at)
                wait_until(lambda worker=worker: not is_alive(worker))
                unready_at = time.monotonic()
                server.start(warm=False)
                unready_at, ready_at = see_ready(server, unready_at)
        *ended, going_on = sorted(lines(server), key=lambda line: line["from"])
        assert going_on["open"]
        assert not any(line["open"] for line in ended)
        assert len(ended) == len(LIVES_S)
        for line, least, most in zip(ended, least_s, most_s, strict=True):
            assert least - HEARTBEAT_S - MARGIN_S <= line["billedSeconds"] <= most + ROUNDED_S
        assert all(one["to"] <= other["from"] for one, other in zip(ended, [*ended[1:], going_on], strict=True))
        bill = server.client.get("/models/v2/usage").json()["output"]["total"]
        # Of the requests that were answered, those of the last moment before a kill may be lost; none counts twice.
        kept = [at for at in answered.values() if not any(0 <= kill - at < LOST_S for kill in killed_at)]
        assert len(kept) <= bill["requests"] <= len(answered) + CLIENTS * (len(LIVES_S) + 1)


def see_ready(server: Server, unready_at: float) -> tuple[float, float]:
    """Waits until its replica is ready, from when on it is billed: a moment before that, and one after it."""

    def is_ready() -> bool:
        nonlocal unready_at
        asked_at = time.monotonic()
        if server.cluster(MODEL)["ready"] == 1:
            return True
        unready_at = asked_at
        return False

    wait_until(is_ready)
    return unready_at, time.monotonic()


def newest(server: Server) -> dict[str, Any]:
    """The line of the replica that was launched last."""
    return max(lines(server), key=lambda line: line["from"])
