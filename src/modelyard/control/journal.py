"""Writes what happened to the store, in order, without making the event loop wait.

Owns the queue between the loop and the store, and whether new work may begin: not while what comes of it could not be
written. Records survive everything but a crash within the moment between `submit` and the writer's next turn (for
requests, `GATHER_S`); what must not be lost even then is awaited with `flush`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, cast

from modelyard.clock import Clock
from modelyard.errors import LeaseLost, ModelyardError, StoreUnavailable
from modelyard.records.clusters import Event
from modelyard.records.requests import RequestRecord
from modelyard.store.problems import stood_still
from modelyard.store.store import Store

log = logging.getLogger(__name__)

Write = Callable[[], object]
Entry = Write | Event | RequestRecord
RETRY_DELAY_S = 1.0
CLOSE_DEADLINE_S = 10.0
GATHER_S = 0.25
"""How long a request's record may wait for others: one transaction for each request would cost more than the request
costs the gateway."""
NICER = 10
"""How much nicer the writer's thread is than those that answer: it has time, and they wait for its turn of a processor.
Not as nice as can be: it holds the interpreter now and then. Measured on two cores at 6,000 requests/s: their p90 is
1.5 ms, by 3.6; nicer by 19: 4.1."""
BEHIND = 1000
"""So many unwritten, and the next are written by a thread like any other: on a machine that is busy for long the nicer
one hardly has a turn."""
DISKS = frozenset({"disk", "disk full"})
"""Causes by which a write fails until somebody does something: nothing new is begun from the first on."""
MOST_UNWRITTEN_FAILING = 100
"""Records in memory beyond which nothing new is begun while a database is away that may be back in a moment."""
MOST_UNWRITTEN = 10_000
"""The same while it only takes its time: a busy server has some hundreds."""
MOST_UNWRITTEN_EVENTS = 20_000
"""Lines of logs are given up beyond so many records."""
READ_S, START_S = 5.0, 60.0
"""How long a call that reads may wait for what is being written; a server that starts, on a busy machine too."""


class Journal:
    """One writer task; writes are kept in order and retried while the store is away."""

    def __init__(
        self, store: Store, clock: Clock, *, retry_delay_s: float = RETRY_DELAY_S, led: Store | None = None
    ) -> None:
        """`led`: the same store for what only the server that leads may write; None: there is one server. What a
        request came to is told by the server that had it, whoever leads."""
        self._store = store
        self._led = led or store
        self._clock = clock
        self._retry_delay_s = retry_delay_s
        self._entries: list[Entry] = []
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._submitted = self._written = 0
        self._behind_since: float | None = None
        self._progress = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: ModelyardError | None = None
        self._shortage: StoreUnavailable | None = None
        self.refusal: ModelyardError | None = None
        """Why nothing new may begin; None while records can be written."""
        self.events_written = 0
        """Lines of clusters' logs that are in the store; who waits for new ones need not ask it in vain."""

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

    async def flush_for_reader(self, within_s: float = READ_S) -> None:
        """As `flush`, for a call that somebody waits for. Raises StoreUnavailable when the store takes longer."""
        try:
            async with asyncio.timeout(0 if self.failing else within_s):
                await self.flush()
        except TimeoutError:
            raise refused(self._failure or StoreUnavailable("The store takes records too slowly.")) from None

    @property
    def unwritten(self) -> int:
        """Records that are not in the store yet."""
        return self._submitted - self._written

    def lag_s(self) -> float:
        """For how long the oldest of them has waited, in seconds; at most: others may have been written meanwhile."""
        return 0.0 if self._behind_since is None else self._clock.monotonic() - self._behind_since

    @property
    def failing(self) -> bool:
        """Whether the store did not take what was last written."""
        return self._failure is not None

    def check(self) -> None:
        """Raises StoreUnavailable when nothing new may begin."""
        if self.refusal is not None:
            raise refused(self.refusal)

    def note_shortage(self, shortage: StoreUnavailable | None) -> None:
        """Takes that the disk is about to be full, or no longer: what has begun is to find room for its records."""
        if shortage is not None and self._shortage is None:
            log.error("nothing new is begun: %s", shortage)
        elif shortage is None and self._shortage is not None:
            log.warning("there is room on the disk again")
        self._shortage = shortage
        self._decide()

    def submit(self, write: Write) -> None:
        """Queues a call into the store. Loop thread only."""
        self._hurry.set()
        self._put(write)

    def event(
        self, account_id: str, model_id: str, cluster_id: str | None, kind: str, message: str, **data: Any
    ) -> None:
        """Queues one line of a cluster's log."""
        log.info("%s: %s", model_id, message)
        if self._submitted - self._written >= MOST_UNWRITTEN_EVENTS:
            return
        self._hurry.set()
        self._put(Event(account_id, model_id, self._clock.now(), kind, message, cluster_id=cluster_id, data=data))

    def settle(self, record: RequestRecord) -> None:
        """Queues what a request came to. Loop thread only."""
        self._put(record)

    def _put(self, entry: Entry) -> None:
        if self._behind_since is None:
            self._behind_since = self._clock.monotonic()
        self._submitted += 1
        self._entries.append(entry)
        self._filled.set()
        if self._failure is not None or self._submitted - self._written >= MOST_UNWRITTEN:
            self._decide()

    async def _write_forever(self) -> None:
        writer = ThreadPoolExecutor(1, "journal", initializer=be_nicer)
        try:
            while True:
                await self._filled.wait()
                if isinstance(self._entries[0], RequestRecord):
                    await self._gather()
                await self._write_all(writer)
        finally:
            writer.shutdown(wait=False)

    async def _write_all(self, writer: Executor) -> None:
        """Writes what there is by now."""
        self._hurry.clear()
        self._filled.clear()
        entries, self._entries = self._entries, []
        await self._write(to_writes(entries, self._store, self._led), None if len(entries) > BEHIND else writer)
        self._written += len(entries)
        self.events_written += sum(isinstance(each, Event) for each in entries)
        self._behind_since = self._clock.monotonic() if self._submitted > self._written else None
        if self.refusal is not None:
            self._decide()
        self._progress.set()
        self._progress = asyncio.Event()  # who waits for more waits for the next turn

    async def _gather(self) -> None:
        """Lets more requests come, unless somebody waits or something else is to be written."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self._hurry.wait()

    async def _write(self, writes: list[Write], writer: Executor | None) -> None:
        """All of them in one thread, of `writer` or any, one after another; what the store does not take for now is
        tried again, before those that follow it."""
        loop = asyncio.get_running_loop()
        done = 0
        while done < len(writes):
            written, error = await loop.run_in_executor(writer, write_in_order, writes[done:])
            done += written
            if written:
                self._succeed()
            if error is None:
                return
            if stood_still(error):
                writer = None  # a nicer thread had no turn for that long
                continue
            if isinstance(error, ModelyardError) and error.retryable:
                self._fail(error)
                await asyncio.sleep(self._retry_delay_s)
                continue
            if isinstance(error, LeaseLost):
                log.info("a record is not written: %s", error)
            elif isinstance(error, ModelyardError):
                log.error("a record could not be written: %s", error)
            else:
                log.error("a record could not be written", exc_info=error)
            done += 1

    def _fail(self, error: ModelyardError) -> None:
        if self._failure is None:
            log.error("the store takes no records, trying again until it does: %s", error)
        self._failure = error
        self._decide()

    def _succeed(self) -> None:
        if self._failure is not None:
            log.warning("the store takes records again")
            self._failure = None
            self._decide()

    def _decide(self) -> None:
        """Whether new work may begin."""
        unwritten, failure = self._submitted - self._written, self._failure
        self.refusal = self._shortage
        if failure is not None and (failure.data.get("cause") in DISKS or unwritten >= MOST_UNWRITTEN_FAILING):
            self.refusal = failure
        elif failure is None and unwritten >= MOST_UNWRITTEN:
            self.refusal = StoreUnavailable(f"{unwritten} records wait to be written.")


def refused(why: ModelyardError) -> StoreUnavailable:
    """The error for whoever is refused; every one needs its own."""
    return StoreUnavailable(str(why), cause=why.data.get("cause"))


def be_nicer() -> None:
    """Makes this thread so, where threads have a nice value of their own; it may rise without any rights."""
    if sys.platform == "linux":
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, os.getpriority(os.PRIO_PROCESS, own) + NICER)


def write_in_order(writes: Sequence[Write]) -> tuple[int, Exception | None]:
    """How many of the calls into the store were carried out, and what kept it from the next one, if anything did."""
    for count, write in enumerate(writes):
        try:
            write()
        except Exception as error:  # noqa: BLE001 - told by whoever wanted it written
            return count, error
    return len(writes), None


def to_writes(entries: list[Entry], store: Store, led: Store | None = None) -> list[Write]:
    """The entries as store calls in the same order, neighbouring events as one and neighbouring requests as one."""
    writes: list[Write] = []
    for kind, run in groupby(entries, type):
        if kind is Event:
            writes.append(partial((led or store).events.add, cast(list[Event], list(run))))
        elif kind is RequestRecord:
            writes.append(partial(store.requests.settle, cast(list[RequestRecord], list(run))))
        else:
            writes.extend(cast(list[Write], list(run)))
    return writes
