"""One running download that several callers may wait for. Owns who is waiting and what they are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event, Lock

from modelyard.records.models import OnProgress, Progress


class Meter:
    """A byte count that several threads add to."""

    def __init__(self) -> None:
        self.done_bytes = 0
        self.total_bytes = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        """`count` may be negative: what came was thrown away."""
        with self._lock:
            self.done_bytes += count


class Download:
    """All methods belong to the event loop; `stop` and `meter` are for the threads that do the work."""

    def __init__(self, model_id: str, account_id: str | None = None) -> None:
        """`account_id`: for whom it is; None: for the server itself."""
        self.model_id = model_id
        self.account_id = account_id
        self.stop = Event()
        self.meter = Meter()
        self._listeners: list[OnProgress] = []
        self._waiting = 0
        self._reported: Progress | None = None

    async def wait(self, task: asyncio.Task[Path], on_progress: OnProgress | None) -> Path:
        """The task's result. The last one to leave before there is one ends the task, and the threads behind it."""
        self._waiting += 1
        if on_progress is not None:
            self._listeners.append(on_progress)
            if self._reported is not None:
                on_progress(self._reported)
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting -= 1
            if on_progress is not None:
                self._listeners.remove(on_progress)
            if not self._waiting and not task.done():
                self.stop.set()
                task.cancel()

    def report(self) -> None:
        """Tells everyone who listens how far it is, if that has changed."""
        progress = Progress(self.model_id, self.meter.done_bytes, self.meter.total_bytes)
        if progress != self._reported:
            self._reported = progress
            for listener in tuple(self._listeners):
                listener(progress)
