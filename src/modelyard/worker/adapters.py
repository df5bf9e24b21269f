"""The adapters that a replica has beside its model: their files as they come, what is made of them, which there are.

Owns the folder of those files, which are gone again once an adapter is loaded. Loop thread only.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from modelyard.errors import BootFailed, ModelRefused, ModelyardError, ReplicaLost
from modelyard.protocol import AdapterPiece, Outcome
from modelyard.tasks.maker import Loaded
from modelyard.worker.schedulers.base import Adapted, Deliver

Load = Callable[[Path], Awaitable[Loaded]]
"""The model with the adapter in a folder beside its weights. Raises ModelyardError."""


async def load_no_adapter(_path: Path) -> Loaded:
    """For a worker whose model takes none."""
    raise ModelRefused("This model takes no adapters beside its weights.")


class Adapters:
    """Those of one model. An adapter is let go of with the last request that refers to it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._folders: dict[str, Path] = {}
        self._lost: dict[str, str] = {}
        """By adapter, why one of its files could not be kept."""
        self._loaded: dict[str, Adapted] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def take_piece(self, piece: AdapterPiece) -> None:
        """Keeps what comes next of a file. That it cannot be kept is told to who loads the adapter."""
        try:
            if piece.adapter not in self._folders:
                self._folders[piece.adapter] = Path(tempfile.mkdtemp(prefix="modelyard-"))
            with (self._folders[piece.adapter] / Path(piece.file).name).open("ab") as file:
                file.write(piece.data)
        except OSError as error:
            self._lost[piece.adapter] = str(error.strerror)

    def load(self, name: str, deliver: Deliver) -> None:
        """Begins to load an adapter whose files have come; `deliver` is told how that went."""
        self._tasks[name] = asyncio.create_task(self._load_and_tell(name, deliver), name=f"load adapter {name}")

    def unload(self, name: str) -> None:
        """Takes an adapter away from requests to come. Idempotent."""
        self._loaded.pop(name, None)
        self._remove_files(name)
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()

    def find(self, name: str) -> Adapted | None:
        """Who answers a request that names this adapter; None: it names none. Raises ReplicaLost for one that is not
        there."""
        if not name:
            return None
        if name not in self._loaded:
            raise ReplicaLost("The adapter is not loaded.")
        return self._loaded[name]

    async def _load_and_tell(self, name: str, deliver: Deliver) -> None:
        answer: Outcome | ModelyardError = ReplicaLost("The adapter was unloaded before it was there.")
        try:
            if (why := self._lost.get(name)) is not None:
                raise BootFailed(f"The adapter's files cannot be kept by the worker: {why}")
            if name not in self._folders:
                raise ModelRefused("The adapter has no files.")
            self._loaded[name] = Adapted(name, await self._load(self._folders[name]))
            answer = Outcome(None)
        except ModelyardError as error:
            answer = error
        finally:
            self._remove_files(name)
            self._tasks.pop(name, None)
            deliver(answer)

    def _remove_files(self, name: str) -> None:
        self._lost.pop(name, None)
        with suppress(KeyError):
            shutil.rmtree(self._folders.pop(name), ignore_errors=True)
