"""Room in the hub's cache for a download, as the hub asks for it before it fetches anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from modelyard.catalog.hub_cache import HubCache
from modelyard.errors import DownloadFailed

KEPT_FREE_BYTES = 64 * 1024**2
"""Of the disk: a file system filled to the last byte stops everything else on it."""


class Space(Protocol):
    """Makes room, or refuses."""

    def room_for(
        self, model_id: str, needed_bytes: int, account_id: str | None
    ) -> AbstractAsyncContextManager[Collection[str]]:
        """Keeps room for what is still to come of a model while the block runs; yields the models that were removed
        for it. Raises QuotaExceeded, DownloadFailed before anything is removed."""
        ...


class FreeSpace:
    """As much as the disk has: for commands that work without accounts. Removes nothing."""

    def __init__(self, cache: HubCache) -> None:
        self._cache = cache

    @asynccontextmanager
    async def room_for(
        self, model_id: str, needed_bytes: int, account_id: str | None
    ) -> AsyncIterator[Collection[str]]:
        """Raises DownloadFailed when the disk has less."""
        free_bytes = await asyncio.to_thread(self._cache.free_bytes)
        if needed_bytes + KEPT_FREE_BYTES > free_bytes:
            raise disk_full(
                model_id,
                needed_bytes,
                f"{free_bytes:,} are free in {self._cache.root}. Make room, or set HF_HOME to a larger disk.",
            )
        yield ()


def disk_full(model_id: str, needed_bytes: int, detail: str) -> DownloadFailed:
    """The error for a model that is larger than what there is for it."""
    return DownloadFailed(
        f"The disk is full: {model_id} needs {needed_bytes:,} bytes more.",
        detail=detail,
        cause="disk",
        needed_bytes=needed_bytes,
    )
