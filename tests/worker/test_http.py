"""A model alone over HTTP, as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard.errors import Unavailable
from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.http import MAX_BODY_BYTES, SoloModel
from tests.engine.harness import echo_spec
from tests.engine.workers import EchoLibrary

PROGRAM = Path(__file__).with_name("solo.py")
DEADLINE_S = 60.0


class Solo:
    """A lone worker's process, ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        assert process.stdout.readline() == "ready\n"

    def ask(self, text: str) -> httpx.Response:
        return httpx.post(f"{self.url}/run", json={"text": text}, timeout=DEADLINE_S)


@contextmanager
def solo(max_batch: int = 8, at_once: int = 1) -> Iterator[Solo]:
    """`at_once`: how many requests have come before the first is answered."""
    process = subprocess.Popen(
        [sys.executable, PROGRAM, str(max_batch), str(at_once)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Solo(process)
    finally:
        process.kill()
        process.communicate()


def test_a_model_that_leaves_ends_the_worker_and_fails_what_waits() -> None:
    with solo(max_batch=1, at_once=3) as worker, ThreadPoolExecutor() as threads:
        answers = list(threads.map(worker.ask, ["leave"] * 3))
        assert [answer.status_code for answer in answers] == [503] * 3
        assert all(answer.json()["output"] is None for answer in answers)
        _, stderr = worker.process.communicate(timeout=DEADLINE_S)
        assert worker.process.returncode == 1
        assert stderr.splitlines()[-1] == "SystemExit: the model has had enough"


async def test_a_worker_batches_no_more_than_it_may() -> None:
    changed = asyncio.Event()
    model = SoloModel(EchoLibrary(), changed.set)
    with pytest.raises(Unavailable, match="preparing"):
        model.scheduler()
    await model.boot(partial(echo_spec_for, max_batch=2))
    async with asyncio.timeout(DEADLINE_S):
        await changed.wait()
    assert (model.phase, model.ready, model.scheduler().max_batch) == ("ready", True, 2)
    model.close()


async def test_a_worker_whose_files_cannot_be_had_has_failed() -> None:
    async def prepare() -> ReplicaSpec:
        raise OSError("the disk is full")

    changed = asyncio.Event()
    model = SoloModel(EchoLibrary(), changed.set)
    await model.boot(prepare)
    assert changed.is_set()
    assert (model.phase, model.ready) == ("failed", False)
    assert model.error is not None
    assert model.error.message == "OSError: the disk is full"


async def echo_spec_for(**more: Any) -> ReplicaSpec:
    return echo_spec(**more)


def test_a_worker_ends_in_order_when_it_is_told_to() -> None:
    with solo() as worker:
        assert httpx.get(f"{worker.url}/health", timeout=DEADLINE_S).json()["status"] == "ready"
        worker.process.send_signal(signal.SIGINT)
        worker.process.communicate(timeout=DEADLINE_S)
        assert worker.process.returncode in (0, 130, -signal.SIGINT)


def test_a_client_that_leaves_frees_the_model() -> None:
    with solo() as worker:
        body = {"text": "hold on", "stream": True}
        with httpx.stream("POST", f"{worker.url}/run", json=body, timeout=DEADLINE_S) as response:
            assert next(response.iter_text()) == "hold"
        assert worker.ask("hello").json()["output"] == "hello"


def test_a_body_that_is_too_large_is_not_read() -> None:
    with solo() as worker:
        connection = HTTPConnection(worker.url.removeprefix("http://"), timeout=DEADLINE_S)
        connection.putrequest("POST", "/run")
        connection.putheader("content-length", str(MAX_BODY_BYTES + 1))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["error"].startswith("body: got '67108865 bytes'")
        connection.close()
