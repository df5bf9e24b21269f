"""The processes that answer HTTP, each replaced when it has died: by programs that are as quick to start as can be."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelyard.serving import gateways
from modelyard.serving.gateway_process import cores_of
from modelyard.serving.gateways import Gateways
from tests.engine.harness import eventually

SERVES = """
import os, signal
print("serving", flush=True)
open(os.path.join({folder!r}, str(os.getpid())), "w").close()
signal.pause()
"""
FAILS = "raise SystemExit(1)"
DEATHS = 3


@asynccontextmanager
async def starting(monkeypatch: pytest.MonkeyPatch, program: str) -> AsyncIterator[None]:
    """One gateway that is such a program."""
    monkeypatch.setattr(gateways, "PROGRAM", (sys.executable, "-I", "-S", "-c", program))
    monkeypatch.setattr(gateways, "STEADY_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = Gateways([listener], b"")
        start = asyncio.create_task(started.start())
        try:
            yield
        finally:
            start.cancel()
            await started.close()


def waits_in(log: pytest.LogCaptureFixture) -> list[str]:
    """After how many seconds those that died were followed, in order."""
    return re.findall(r"another one is started in (\S+) s", log.text)


async def test_one_that_has_taken_requests_for_a_while_is_replaced_at_once_however_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async with starting(monkeypatch, SERVES.format(folder=str(tmp_path))):
        for _ in range(DEATHS):
            await eventually(lambda: os.listdir(tmp_path))
            (name,) = os.listdir(tmp_path)
            (tmp_path / name).unlink()
            os.kill(int(name), signal.SIGKILL)
        await eventually(lambda: os.listdir(tmp_path))
    assert waits_in(caplog) == ["0.1"] * DEATHS


async def test_one_that_dies_before_it_takes_requests_is_waited_for_twice_as_long_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with starting(monkeypatch, FAILS):
        await eventually(lambda: len(waits_in(caplog)) == DEATHS)
    assert waits_in(caplog) == ["0.2", "0.4", "0.8"]


@pytest.mark.parametrize(
    ("gateways", "cores", "parts"),
    [
        (1, {0, 1}, [{0, 1}]),
        (2, {0, 1}, [{0}, {1}]),
        (2, {1, 4, 6, 7, 9}, [{1, 6, 9}, {4, 7}]),
        (3, {0, 1}, [{0, 1}] * 3),
    ],
)
def test_cores_are_dealt_to_gateways(gateways: int, cores: set[int], parts: list[set[int]]) -> None:
    assert [set(cores_of(number, gateways, cores)) for number in range(gateways)] == parts
