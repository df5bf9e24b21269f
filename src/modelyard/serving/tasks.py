"""Background tasks that end with what has started them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any


def start_task(stack: AsyncExitStack, work: Coroutine[Any, Any, None], name: str) -> None:
    """Runs work in the background until the stack is closed."""
    stack.push_async_callback(end, asyncio.create_task(work, name=name))


async def end(task: asyncio.Task[None]) -> None:
    """Cancels a background task and waits until it has ended."""
    task.cancel()
    await asyncio.wait({task})
