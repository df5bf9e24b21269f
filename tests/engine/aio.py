"""Runs `async def` tests for a conftest's `pytest_pyfunc_call`, on the `runner` fixture's loop where there is one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

import pytest

TEST_DEADLINE_S = 60.0


def run_async_test(item: pytest.Function) -> bool | None:
    """True when `item` was a coroutine function, and has run."""
    if not inspect.iscoroutinefunction(item.obj):
        return None
    arguments = {name: item.funcargs[name] for name in inspect.signature(item.obj).parameters}
    test = within(item.obj(**arguments))
    runner = item.funcargs.get("runner")
    if isinstance(runner, asyncio.Runner):
        runner.run(test)
    else:
        asyncio.run(test)
    return True


async def within(test: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(TEST_DEADLINE_S):
        await test
