"""How many things are gone through on the event loop, so that others have their turns meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def with_pauses(things: Iterable[T], every: int) -> AsyncIterator[T]:
    """Each of them; after `every` so many, whatever else waits for the loop comes first."""
    for done, each in enumerate(things, 1):
        yield each
        if done % every == 0:
            await asyncio.sleep(0)


async def in_pieces(things: Sequence[T], size: int) -> AsyncIterator[Sequence[T]]:
    """So many of them at a time; after each piece, whatever else waits for the loop comes first."""
    for begin in range(0, len(things), size):
        yield things[begin : begin + size]
        await asyncio.sleep(0)
