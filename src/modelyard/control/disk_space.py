"""Watches how much room there is on the data folder's disk, so that new work ends before the room does.

What has begun then still finds room for its records. Decides nothing but whether there is too little.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from modelyard.errors import StoreUnavailable
from modelyard.units import MIB

LOOK_EVERY_S = 1.0

OnShortage = Callable[[StoreUnavailable | None], None]
"""Told at every look: what is short, or None."""


def find_shortage(folder: Path, min_free_bytes: int) -> StoreUnavailable | None:
    """What to tell when less than `min_free_bytes` are free for this user; None when there is more, or nobody knows."""
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError:  # writing will say what is the matter
        return None
    if free_bytes >= min_free_bytes:
        return None
    return StoreUnavailable(
        f"The disk that holds {folder} has {free_bytes // MIB} MB left; {min_free_bytes // MIB} MB are kept free.",
        cause="disk full",
    )


async def watch_disk_space(folder: Path, min_free_bytes: int, on_shortage: OnShortage) -> None:
    """Looks every second, until cancelled."""
    while True:
        on_shortage(await asyncio.to_thread(find_shortage, folder, min_free_bytes))
        await asyncio.sleep(LOOK_EVERY_S)
