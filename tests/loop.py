"""The event loop that a test runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def turns(count: int = 5) -> None:
    """Lets everything that can go on without waiting go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def turns_of(work: Coroutine[Any, Any, Any]) -> int:
    """How many turns of the loop it takes, between which others have theirs."""
    task, turned = asyncio.create_task(work), 0
    while not task.done():
        turned += 1
        await asyncio.sleep(0)
    await task
    return turned
