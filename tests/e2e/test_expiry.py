"""When a loaded model goes: soon after its period without requests, at once when told to, never while it has work."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engine.sharing import build_weighty
from tests.peaks import total_bytes
from tests.serving import Server, is_alive, wait_until

WEIGHTY = "tiny/weighty"
QUICK = "tiny/classifier"
LOADED_ONCE = "tiny/loaded-once"
"""The same under another name."""
PERIOD_S = 2
BUSY_S = 3.5
"""How long a model with that period has work, or loads: long enough to be thought idle by mistake."""


@pytest.fixture(scope="module")
def models(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_weighty(folder / WEIGHTY)
    for model_id in (QUICK, LOADED_ONCE):
        os.symlink(zoo / QUICK, folder / model_id)
    return folder


@pytest.fixture(scope="module")
def server(models: Path, shared_server: Server) -> Iterator[Server]:
    with shared_server.with_models(models) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_loaded(server: Server) -> Iterator[None]:
    yield
    for model_id in (WEIGHTY, QUICK, LOADED_ONCE):
        call(server, "delete", model_id)


def call(server: Server, name: str, model_id: str, **body: Any) -> Any:
    response = server.client.post(f"/model/{name}", json={"model": model_id, **body})
    assert response.status_code == 200, response.text
    return response.json()


def status(server: Server, model_id: str) -> str:
    return str(call(server, "status", model_id)["status"])


def load(server: Server, model_id: str, period_s: int) -> None:
    call(server, "load", model_id, expirationPeriodSeconds=period_s)
    wait_until(lambda: status(server, model_id) == "RUNNING")


def set_period(server: Server, model_id: str, period_s: int) -> None:
    """Of a model that is loaded."""
    response = server.client.patch(f"/models/v2/{model_id}", json={"timeout": period_s})
    assert response.status_code == 200, response.text


def expires_at(server: Server, model_id: str) -> float:
    """Seconds since the epoch."""
    moment = datetime.fromisoformat(call(server, "status", model_id)["expiresAt"])
    return moment.timestamp()


def worker_of(server: Server, model_id: str) -> psutil.Process:
    """The one process that holds a loaded model: the nursery's only child."""
    return server.worker()


def statuses_for_a_while(server: Server, model_id: str) -> set[str]:
    """What is said of the model meanwhile."""
    seen = set()
    over_at = time.monotonic() + BUSY_S

    def is_over() -> bool:
        seen.add(status(server, model_id))
        return time.monotonic() >= over_at

    wait_until(is_over, every_s=0.1)
    return seen


def test_an_idle_model_is_gone_soon_after_its_period(server: Server) -> None:
    load(server, QUICK, 60)
    worker = worker_of(server, QUICK)
    due = expires_at(server, QUICK) - 60 + PERIOD_S
    set_period(server, QUICK, PERIOD_S)

    wait_until(lambda: not is_alive(worker))

    assert time.time() >= due
    wait_until(lambda: status(server, QUICK) == "STOPPED")


def test_a_run_late_in_the_period_starts_it_anew(server: Server) -> None:
    load(server, QUICK, 10)
    first = expires_at(server, QUICK)
    worker = worker_of(server, QUICK)

    wait_until(lambda: time.time() >= first - 7)
    call(server, "run", QUICK, text="hello")
    second = expires_at(server, QUICK)
    assert second - first > 2.5
    seen = set()

    def is_due() -> bool:
        now = status(server, QUICK), worker.is_running()
        if time.time() < second:
            seen.add(now)
        return time.time() >= second

    wait_until(is_due)
    assert seen == {("RUNNING", True)}
    wait_until(lambda: status(server, QUICK) == "STOPPED")


def test_a_model_that_is_busy_does_not_expire(server: Server) -> None:
    load(server, WEIGHTY, 60)
    worker = worker_of(server, WEIGHTY)
    with ThreadPoolExecutor() as pool:
        worker.suspend()
        try:
            answer = pool.submit(call, server, "run", WEIGHTY, prompt="a", params={"max_new_tokens": 2})
            wait_until(lambda: server.load()[0] == 1)
            set_period(server, WEIGHTY, PERIOD_S)
            assert statuses_for_a_while(server, WEIGHTY) == {"RUNNING"}
            set_period(server, WEIGHTY, 60)
        finally:
            worker.resume()
        assert answer.result(120)
    assert worker_of(server, WEIGHTY) == worker


def test_a_model_that_still_loads_does_not_expire(server: Server) -> None:
    with server.boots_held():
        call(server, "load", LOADED_ONCE, expirationPeriodSeconds=PERIOD_S)
        seen = statuses_for_a_while(server, LOADED_ONCE)
    assert not seen & {"RUNNING", "STOPPED"}
    wait_until(lambda: status(server, LOADED_ONCE) == "RUNNING")
    assert [line for line in server.events(LOADED_ONCE) if "starts" in line][1:] == []


def test_delete_frees_the_memory_at_once(server: Server) -> None:
    def held() -> int:
        return total_bytes(process.pid for process in server.descendants())

    load(server, QUICK, 60)
    call(server, "delete", QUICK)  # from now on the nursery has done all it does once
    before = held()
    load(server, WEIGHTY, 600)
    call(server, "run", WEIGHTY, prompt="Once upon a time", params={"max_new_tokens": 2})
    loaded = held() - before
    assert loaded > 150 * 1024**2

    call(server, "delete", WEIGHTY)
    wait_until(lambda: held() - before < 0.05 * loaded)  # not only when its period of ten minutes is over
