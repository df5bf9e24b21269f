"""Tests written as coroutines, each on an event loop of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any


def on_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs the test to its end; fixtures are passed by name as usual."""

    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        asyncio.run(test(*args, **fixtures))

    return run


async def turns(count: int = 5) -> None:
    """Lets everything that can go on without waiting go on."""
    for _ in range(count):
        await asyncio.sleep(0)
