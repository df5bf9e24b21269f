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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
GONE = "There is no such file, or it has expired. Run the model again for a new one."
TOKEN_BYTES = 24
"""192 random bits."""
NAME = re.compile(r"[A-Za-z0-9_-]{32}\.[a-z0-9]{3,4}")
SWEEP_EVERY_S = 60.0
PIECE_BYTES = 1024**2
"""Of a file that is sent to another server."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that may be read now."""

    path: Path
    media_type: str
    left_s: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What follows in a file. `size_bytes`: of all of it; `made_at`: seconds since 1970."""

    data: bytes
    size_bytes: int
    made_at: float


class Copy:
    """A file of another server on its way into a folder, where nobody finds it before it is whole. Methods block."""

    def __init__(self, path: Path) -> None:
        """`path`: where it will be."""
        self._path = path
        self._part = path.with_name(f"{secrets.token_hex(8)}.part")
        self.count_bytes = 0
        """Of it that are here."""

    def add(self, data: bytes) -> None:
        """Adds what follows. Raises StoreUnavailable."""
        with writing(self._part):
            if not self.count_bytes:
                ensure_private_file(self._part)
            with self._part.open("ab") as file:
                file.write(data)
        self.count_bytes += len(data)

    def finish(self, made_at: float) -> None:
        """It is whole. `made_at`: seconds since 1970. Raises StoreUnavailable."""
        with writing(self._part):
            os.utime(self._part, (made_at, made_at))
            self._part.rename(self._path)

    def give_up(self) -> None:
        """Removes what is here of it, unless it is whole. Idempotent."""
        with suppress(OSError):
            self._part.unlink()


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
        with writing(part):
            ensure_private_file(part)
            part.write_bytes(data)
            now = self._clock.now().timestamp()
            os.utime(part, (now, now))
            part.rename(path)  # whoever finds it, finds all of it
        return name

    def read_piece(self, name: str, offset: int) -> Piece:
        """What follows at that byte of a file, PIECE_BYTES at most. Raises NotFound."""
        try:
            with self.get(name).path.open("rb") as file:
                file.seek(offset)
                told = os.fstat(file.fileno())
                return Piece(file.read(PIECE_BYTES), told.st_size, told.st_mtime)
        except FileNotFoundError:
            raise NotFound(GONE) from None

    @contextmanager
    def copying(self, name: str) -> Iterator[Copy]:
        """A file of that name is copied here from another server; what is not whole by the end of the block is
        removed. `name`: checked."""
        copy = Copy(self._folder / name)
        try:
            yield copy
        finally:
            copy.give_up()

    def get(self, name: str) -> Artefact:
        """The file of that name. Raises NotFound when there is none, or it has expired."""
        path = self._folder / name
        try:
            left_s = self._left_s(path) if NAME.fullmatch(name) else 0.0
        except FileNotFoundError:
            left_s = 0.0
        if left_s <= 0:
            raise NotFound(GONE)
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


@contextmanager
def writing(part: Path) -> Iterator[None]:
    """The block writes this file; where it cannot, nothing is left. Raises StoreUnavailable."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        cause = "disk full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "disk"
        raise StoreUnavailable(f"{part.parent} cannot be written: {error.strerror}.", cause=cause) from error
