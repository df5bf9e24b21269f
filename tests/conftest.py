"""How every `async def` test runs: by AnyIO's plugin on asyncio, on a loop of its own, within a deadline.

Tests share a loop while an async fixture of a wider scope lives (the engines of tests/engine).
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

TEST_DEADLINE_S = 60.0
"""Far above what any of them takes on a busy machine: what is still under way by then waits for ever."""

AsyncTest = Callable[..., Coroutine[Any, Any, None]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


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
