"""The event loop that a test runs on."""

from __future__ import annotations

import asyncio


async def turns(count: int = 5) -> None:
    """Lets everything that can go on without waiting go on."""
    for _ in range(count):
        await asyncio.sleep(0)
