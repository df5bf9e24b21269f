"""How many things are gone through on the event loop, so that others have their turns meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")


async def with_pauses(things: Iterable[T], every: int) -> AsyncIterator[T]:
    """Each of them; after `every` so many, whatever else waits for the loop comes first."""
    for done, each in enumerate(things, 1):
        yield each
        if done % every == 0:
            await asyncio.sleep(0)
