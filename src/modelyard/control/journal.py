"""Writes what happened to the store, in order, without making the event loop wait.

Owns the queue between the loop and the store. Records survive everything but a crash within the moment between
`submit` and the writer's next turn (for requests, `GATHER_S`); what must not be lost even then is awaited with `flush`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, cast

from modelyard.clock import Clock
from modelyard.errors import ModelyardError
from modelyard.records.clusters import Event
from modelyard.records.requests import RequestRecord
from modelyard.store.store import Store

log = logging.getLogger(__name__)

Write = Callable[[], object]
Entry = Write | Event | RequestRecord
RETRY_DELAY_S = 1.0
CLOSE_DEADLINE_S = 10.0
GATHER_S = 0.25
"""How long a request's record may wait for others: one transaction for each request would cost more than the request
costs the gateway."""


class Journal:
    """One writer task; writes are kept in order and retried while the store is away."""

    def __init__(self, store: Store, clock: Clock, *, retry_delay_s: float = RETRY_DELAY_S) -> None:
        self._store = store
        self._clock = clock
        self._retry_delay_s = retry_delay_s
        self._queue: asyncio.Queue[Entry] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._submitted = self._written = 0
        self._progress = asyncio.Event()
        self._hurry = asyncio.Event()

    def start(self) -> None:
        """Starts the writer."""
        self._task = asyncio.create_task(self._write_forever(), name="journal")

    async def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Writes what is queued and stops; what the store has not taken within `deadline_s` is lost. Idempotent."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(deadline_s):
                await self.flush()
        except TimeoutError:
            log.error("the store stayed away: up to %d records are lost", self._submitted - self._written)  # noqa: TRY400
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def flush(self) -> None:
        """Returns when everything submitted so far is in the store, however much comes after it."""
        submitted = self._submitted
        self._hurry.set()
        while self._written < submitted:
            await self._progress.wait()

    def submit(self, write: Write) -> None:
        """Queues a call into the store. Loop thread only."""
        self._hurry.set()
        self._put(write)

    def event(
        self, account_id: str, model_id: str, cluster_id: str | None, kind: str, message: str, **data: Any
    ) -> None:
        """Queues one line of a cluster's log."""
        log.info("%s: %s", model_id, message)
        self._hurry.set()
        self._put(Event(account_id, model_id, self._clock.now(), kind, message, cluster_id=cluster_id, data=data))

    def settle(self, record: RequestRecord) -> None:
        """Queues what a request came to. Loop thread only."""
        self._put(record)

    def _put(self, entry: Entry) -> None:
        self._submitted += 1
        self._queue.put_nowait(entry)

    async def _write_forever(self) -> None:
        while True:
            entries = [await self._queue.get()]
            if isinstance(entries[0], RequestRecord):
                await self._gather()
            self._hurry.clear()
            while not self._queue.empty():
                entries.append(self._queue.get_nowait())
            for write in to_writes(entries, self._store):
                await self._write(write)
            self._written += len(entries)
            self._progress.set()
            self._progress = asyncio.Event()  # who waits for more waits for the next turn

    async def _gather(self) -> None:
        """Lets more requests come, unless somebody waits or something else is to be written."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self._hurry.wait()

    async def _write(self, write: Write) -> None:
        while True:
            try:
                await asyncio.to_thread(write)
            except ModelyardError as error:
                if not error.retryable:
                    log.error("a record could not be written: %s", error.message)  # noqa: TRY400 - a sentence, no trace
                    return
                log.warning("the store is away, trying again: %s", error.message)
                await asyncio.sleep(self._retry_delay_s)
            except Exception:
                log.exception("a record could not be written")
                return
            else:
                return


def to_writes(entries: list[Entry], store: Store) -> list[Write]:
    """The entries as store calls in the same order, neighbouring events as one and neighbouring requests as one."""
    writes: list[Write] = []
    for kind, run in groupby(entries, kind_of):
        if kind is Event:
            writes.append(partial(store.events.add, cast(list[Event], list(run))))
        elif kind is RequestRecord:
            writes.append(partial(store.requests.settle, cast(list[RequestRecord], list(run))))
        else:
            writes.extend(cast(list[Write], list(run)))
    return writes


def kind_of(entry: Entry) -> type:
    """What an entry is, among those that are written together."""
    return type(entry) if isinstance(entry, Event | RequestRecord) else object
