"""How every `async def` test runs: by AnyIO's plugin on asyncio, on a loop of its own, within a deadline.

Tests share a loop while an async fixture of a wider scope lives (the engines of tests/engine).
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import signal
import sys
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.properties import EXAMPLES, TIMES

TEST_DEADLINE_S = 500.0
"""Far above what any of them takes on a busy machine: what is still under way by then waits for ever."""

AsyncTest = Callable[..., Coroutine[Any, Any, None]]


def pytest_configure() -> None:
    # SIGINT is ignored in what a shell runs in its background; the commands that tests start must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile(
        "tests",
        max_examples=EXAMPLES,
        derandomize=TIMES == 1,
        deadline=None,  # what an example takes is its machine's affair
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting imports stays: to look through it for garbage, now and later, takes a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Models in this process compute with one thread, whatever did before. Several turn until all of them are done,
    which took one file of tests of tiny models 115 s of CPU time beside other processes, in place of 5."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def openvino(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO can be found, which is all that is asked of it where nothing is loaded."""
    (tmp_path / "packages" / "openvino").mkdir(parents=True)
    (tmp_path / "packages" / "openvino" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "packages")


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not installed."""
    monkeypatch.setitem(sys.modules, "openvino", None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        pyfuncitem.obj = within_deadline(pyfuncitem.obj)
    return (yield)


def within_deadline(test: AsyncTest) -> AsyncTest:
    @functools.wraps(test)
    async def run(**fixtures: Any) -> None:
        async with asyncio.timeout(TEST_DEADLINE_S):
            await test(**fixtures)

    return run
