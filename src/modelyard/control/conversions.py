"""Pickled weights made into safetensors, once for each state of a model's files, and kept in the data folder.

Owns those folders and what they may take together. The pickles are opened by a program of its own,
`modelyard.worker.conversion`, and by nothing else: workers read safetensors.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from modelyard.catalog.files import Fingerprint, scan_folder
from modelyard.catalog.made_files import RoomFor, no_quota, size_of, write_account
from modelyard.catalog.space import KEPT_FREE_BYTES, disk_full
from modelyard.config import Settings
from modelyard.engine.export import make_folder
from modelyard.engine.rundir import remove_tree
from modelyard.private_files import ensure_private_folder
from modelyard.records.conversions import CONVERTED_FOLDER, ConversionOrder, is_pickle
from modelyard.records.files import repository_of
from modelyard.records.models import ModelCard
from modelyard.units import GIB

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "modelyard.worker.conversion")
MEMORY_BYTES = 512 * 1024**2
"""What reading a pickle takes beside its tensors."""
COPIES = 2
"""How often the largest pickle may be held: in older forms as a whole, and one of its tensors again."""
CPU_S = 60
CPU_BYTES_PER_S = 20_000_000
"""How long a conversion may compute. Slow machines copy and check 200 MB in a second."""


MemoryFor = Callable[[str, int], AbstractAsyncContextManager[int]]
"""Sets so many bytes of memory aside under a name while a block runs; yields how many there are."""


@asynccontextmanager
async def all_there_is(_name: str, memory_bytes: int) -> AsyncIterator[int]:
    """As much memory as is asked for: for commands beside which nothing else runs."""
    yield memory_bytes


class Conversions:
    """The converted models of one data folder. Belongs to one event loop."""

    def __init__(
        self,
        folder: Path,
        sandbox: str = "auto",
        limit_bytes: int | None = None,
        program: Sequence[str] = PROGRAM,
        *,
        memory_for: MemoryFor = all_there_is,
        room_for: RoomFor = no_quota,
    ) -> None:
        """`limit_bytes`: what all of them may take; None: as much as the disk has. `program`: that converts.
        `memory_for`, `room_for`: what one needs while it is made, and what it leaves behind."""
        self._memory_for = memory_for
        self._room_for = room_for
        self._folder = folder
        self._sandbox = sandbox
        self._limit_bytes = limit_bytes
        self._program = program
        self._locks: dict[Path, asyncio.Lock] = {}

    async def convert(self, card: ModelCard) -> ModelCard:
        """The card with the folder from which the model is to be loaded; see `ensure`."""
        return card if card.path is None else replace(card, path=await self.ensure(card, card.path))

    async def ensure(self, card: ModelCard, path: Path, account_id: str | None = None) -> Path:
        """The folder from which a model is to be loaded, whose files are at `path`: that one unless it has pickles.

        `account_id`: for whom; what is made counts for it from then on. Converting takes a second or two for a
        gigabyte, once there is memory for it. Raises ModelRefused, which names the file that cannot be converted;
        QuotaExceeded, DownloadFailed when the account or the disk has no room; NoCapacity.
        """
        if not card.inspection.pickle_only:
            return path
        fingerprint = await asyncio.to_thread(scan_folder, path)
        digest = blake2b(repr((card.inspection.weight_files, fingerprint)).encode(), digest_size=16).hexdigest()
        target = self._folder / repository_of(card.model_id) / digest
        async with self._locks.setdefault(target, asyncio.Lock()):
            if await asyncio.to_thread(is_kept, target):
                return target
            await self._convert(card, path, target, fingerprint, account_id)
        return target

    async def _convert(
        self, card: ModelCard, path: Path, target: Path, files: Fingerprint, account_id: str | None
    ) -> None:
        weights = card.inspection.weight_files
        sizes = {name: size for name, size, _ in files if name in weights}
        needed_bytes = sum(sizes.values())
        largest_bytes = max((size for name, size in sizes.items() if is_pickle(name)), default=0)
        name = f"{card.model_id} of its pickles"
        await asyncio.to_thread(self._remove_outdated, target)
        room_for = self._room_for if account_id is not None else no_quota
        async with (
            room_for(card.model_id, needed_bytes, account_id or ""),
            self._memory_for(name, COPIES * largest_bytes + MEMORY_BYTES) as memory_bytes,
        ):
            await asyncio.to_thread(self._make_room, card.model_id, needed_bytes)
            order = ConversionOrder(
                path=str(path),
                weights=weights,
                target=str(target),
                model_id=card.model_id,
                memory_limit_bytes=memory_bytes,
                cpu_s=CPU_S + needed_bytes // CPU_BYTES_PER_S,
                sandbox=self._sandbox,
            )
            log.info("converting the pickled weights of %s to safetensors", card.model_id)
            await make_folder(order, lambda _: None, self._program, "has pickled weights that cannot be converted")
            if account_id is not None:
                await asyncio.to_thread(write_account, target, account_id)

    # --- on a thread ---

    def _remove_outdated(self, target: Path) -> None:
        """Removes what was made of the same model's earlier files."""
        ensure_private_folder(self._folder)
        for old in target.parent.glob("*") if target.parent.is_dir() else ():
            remove_tree(old)

    def _make_room(self, model_id: str, needed_bytes: int) -> None:
        """Removes others, those unused for longest first, until the new one has room. A replica that has such a file
        open keeps it; its next boot converts again."""
        made = (each for each in self._folder.glob("*/*/*") if not each.name.startswith("."))
        kept = sorted(made, key=lambda each: each.stat().st_mtime)
        sizes = {each: size_of(each) for each in kept}
        for each in kept:
            too_much = self._limit_bytes is not None and sum(sizes.values()) + needed_bytes > self._limit_bytes
            if not too_much and has_room(self._folder, needed_bytes):
                return
            log.info("%s, made of pickled weights, is removed: %s needs its room", each.parent.name, model_id)
            remove_tree(each)
            del sizes[each]
        if not has_room(self._folder, needed_bytes):
            raise disk_full(model_id, needed_bytes, f"in {self._folder}, for its weights as safetensors.")


def open_conversions(
    settings: Settings, memory_for: MemoryFor = all_there_is, room_for: RoomFor = no_quota
) -> Conversions:
    """Those of the data folder that these settings name."""
    limit_bytes = None if settings.cache_gb == 0 else round(settings.cache_gb * GIB)
    return Conversions(
        settings.data_dir / CONVERTED_FOLDER,
        settings.sandbox,
        limit_bytes,
        memory_for=memory_for,
        room_for=room_for,
    )


def is_kept(target: Path) -> bool:
    """Whether it is there; notes that it is used."""
    try:
        os.utime(target)
    except FileNotFoundError:
        return False
    return True


def has_room(folder: Path, needed_bytes: int) -> bool:
    """Whether the disk has so much for a model, and keeps something."""
    return shutil.disk_usage(folder).free >= needed_bytes + KEPT_FREE_BYTES
