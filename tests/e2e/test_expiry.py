"""When a loaded model goes: soon after its period without requests, at once when told to, never while it has work."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engine.sharing import build_weighty
from tests.peaks import total_bytes
from tests.serving import Server, wait_until

WEIGHTY = "tiny/weighty"
QUICK = "tiny/classifier"
LATE_S = 5.0
"""How long after its period an idle model may still be there."""


@pytest.fixture(scope="module")
def models(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_weighty(folder / WEIGHTY)
    os.symlink(zoo / QUICK, folder / QUICK)
    return folder


@pytest.fixture(scope="module")
def own_server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("expiry"), models) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_loaded(own_server: Server) -> Iterator[None]:
    yield
    for model_id in (WEIGHTY, QUICK):
        call(own_server, "delete", model_id)


def call(server: Server, name: str, model_id: str, **body: Any) -> Any:
    response = server.client.post(f"/model/{name}", json={"model": model_id, **body})
    assert response.status_code == 200, response.text
    return response.json()


def status(server: Server, model_id: str) -> str:
    return str(call(server, "status", model_id)["status"])


def load(server: Server, model_id: str, period_s: int) -> None:
    call(server, "load", model_id, expirationPeriodSeconds=period_s)
    wait_until(lambda: status(server, model_id) == "RUNNING")


def expires_at(server: Server, model_id: str) -> float:
    """Seconds since the epoch."""
    moment = datetime.fromisoformat(call(server, "status", model_id)["expiresAt"])
    return moment.timestamp()


def worker_of(server: Server, model_id: str) -> psutil.Process:
    """The one process that holds a loaded model: the nursery's only child."""
    (pid,) = server.worker_pids()
    return psutil.Process(pid)


def test_an_idle_model_is_gone_soon_after_its_period(own_server: Server) -> None:
    load(own_server, QUICK, 1)
    due, worker = expires_at(own_server, QUICK), worker_of(own_server, QUICK)

    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, deadline_s=10)

    assert 0 <= time.time() - due <= LATE_S
    wait_until(lambda: status(own_server, QUICK) == "STOPPED", deadline_s=2)


def test_a_run_late_in_the_period_starts_it_anew(own_server: Server) -> None:
    load(own_server, QUICK, 3)
    first = expires_at(own_server, QUICK)
    worker = worker_of(own_server, QUICK)

    wait_until(lambda: time.time() >= first - 0.3)
    call(own_server, "run", QUICK, text="hello")
    second = expires_at(own_server, QUICK)
    assert second - first > 2.5
    wait_until(lambda: time.time() >= second - 0.3)

    assert status(own_server, QUICK) == "RUNNING"
    assert worker_of(own_server, QUICK) == worker
    wait_until(lambda: status(own_server, QUICK) == "STOPPED", deadline_s=0.3 + LATE_S)


def test_a_model_that_is_busy_does_not_expire(own_server: Server) -> None:
    load(own_server, WEIGHTY, 1)
    worker = worker_of(own_server, WEIGHTY)
    answers: list[Any] = []
    params = {"min_new_tokens": 240, "max_new_tokens": 240}

    began = time.monotonic()
    request = threading.Thread(
        target=lambda: answers.append(call(own_server, "run", WEIGHTY, prompt="a", params=params))
    )
    request.start()
    while request.is_alive():
        assert status(own_server, WEIGHTY) == "RUNNING"
        request.join(0.1)

    assert time.monotonic() - began > 1.5, "too quick to show anything"
    assert answers
    assert worker_of(own_server, WEIGHTY) == worker


def test_a_model_that_still_loads_does_not_expire(models: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, models)
    server.start(warm=False)  # the first boot waits for the model libraries: some seconds
    try:
        began = time.monotonic()
        call(server, "load", QUICK, expirationPeriodSeconds=1)
        seen = set()

        def running() -> bool:
            seen.add(status(server, QUICK))
            return "RUNNING" in seen

        wait_until(running, deadline_s=60)
        assert time.monotonic() - began > 1.5, "too quick to show anything"
        assert "STOPPED" not in seen
        assert [line for line in server.events(QUICK) if "starts" in line][1:] == []
    finally:
        server.client.close()
        server.stop()


def test_delete_frees_the_memory_at_once(own_server: Server) -> None:
    def held() -> int:
        return total_bytes(process.pid for process in own_server.descendants())

    load(own_server, QUICK, 60)
    call(own_server, "delete", QUICK)  # from now on the nursery has done all it does once
    before = held()
    load(own_server, WEIGHTY, 60)
    call(own_server, "run", WEIGHTY, prompt="Once upon a time", params={"max_new_tokens": 2})
    loaded = held() - before
    assert loaded > 150 * 1024**2

    began = time.monotonic()
    call(own_server, "delete", WEIGHTY)
    wait_until(lambda: held() - before < 0.05 * loaded, deadline_s=2.0 - (time.monotonic() - began))
