"""Files that models have made, kept for a while under names nobody can guess. Owns one folder, and who may read what.

Knowing a name is the right to read the file. Names are checked against their one form before a path is made of them.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelyard.clock import Clock
from modelyard.errors import NotFound, StoreUnavailable
from modelyard.private_files import ensure_private_file, ensure_private_folder

log = logging.getLogger(__name__)

ENDINGS = {
    "image/png": "png", "audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg",
    "audio/aac": "aac", "audio/pcm": "pcm", "video/mp4": "mp4",
}  # fmt: skip
TYPES = {ending: media_type for media_type, ending in ENDINGS.items()}
OTHER = "bin"
TOKEN_BYTES = 24
"""192 random bits."""
NAME = re.compile(r"[A-Za-z0-9_-]{32}\.[a-z0-9]{3,4}")
SWEEP_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that may be read now."""

    path: Path
    media_type: str
    left_s: int


class Artefacts:
    """The artefacts of one data folder. Methods but `sweep_forever` may block on the disk: call them on a thread."""

    def __init__(self, folder: Path, ttl_s: float, clock: Clock) -> None:
        """`ttl_s`: seconds a file can be read for."""
        self._folder = folder
        self._ttl_s = ttl_s
        self._clock = clock

    def open(self) -> None:
        """Makes the folder, and removes what has expired while nobody looked."""
        ensure_private_folder(self._folder)
        self.sweep()

    def keep(self, data: bytes, media_type: str) -> str:
        """Stores a file; returns its name. Raises StoreUnavailable."""
        name = f"{secrets.token_urlsafe(TOKEN_BYTES)}.{ENDINGS.get(media_type, OTHER)}"
        path = self._folder / name
        part = path.with_suffix(".part")
        try:
            ensure_private_file(part)
            part.write_bytes(data)
            now = self._clock.now().timestamp()
            os.utime(part, (now, now))
            part.rename(path)  # whoever finds it, finds all of it
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            cause = "disk full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "disk"
            raise StoreUnavailable(f"{path} cannot be written: {error.strerror}.", cause=cause) from error
        return name

    def get(self, name: str) -> Artefact:
        """The file of that name. Raises NotFound when there is none, or it has expired."""
        path = self._folder / name
        try:
            left_s = self._left_s(path) if NAME.fullmatch(name) else 0.0
        except FileNotFoundError:
            left_s = 0.0
        if left_s <= 0:
            raise NotFound("There is no such file, or it has expired. Run the model again for a new one.")
        return Artefact(path, TYPES.get(path.suffix[1:], "application/octet-stream"), int(left_s))

    def sweep(self) -> int:
        """Removes what has expired; returns how many files that were."""
        removed = 0
        for path in list(self._folder.iterdir()):
            with suppress(FileNotFoundError):
                if self._left_s(path) <= 0:
                    path.unlink()
                    removed += 1
        return removed

    async def sweep_forever(self) -> None:
        """Sweeps every minute, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await asyncio.to_thread(self.sweep)
            except OSError:
                log.exception("expired artefacts could not be removed")

    def _left_s(self, path: Path) -> float:
        return path.stat().st_mtime + self._ttl_s - self._clock.now().timestamp()
