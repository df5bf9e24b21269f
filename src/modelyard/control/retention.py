"""Deletes what has been kept long enough: lines of logs, records of requests that are on no bill, responses,
the history of charts.

A little at a time, between which others write; the ledger of instances and what anybody is charged for stay for ever.
SQLite's file does not shrink: what is deleted makes room in it for what comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from modelyard.clock import Clock
from modelyard.errors import ModelyardError
from modelyard.store.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3600.0
BATCH = 500
"""Rows in one transaction, which others wait for: some milliseconds."""
RESPONSE_BATCH = 50
"""The same of responses, which are larger."""
REST_S = 0.05


@dataclass(frozen=True, slots=True)
class Kept:
    """How much is kept: days of requests, of events and of the audit log, and lines of each cluster's log."""

    usage_days: int
    event_days: int
    event_lines: int
    audit_days: int


class Retention:
    """Holds one store to what is kept."""

    def __init__(self, store: Store, clock: Clock, kept: Kept, *, rest_s: float = REST_S) -> None:
        """`rest_s`: between two transactions."""
        self._store = store
        self._clock = clock
        self._kept = kept
        self._rest_s = rest_s

    async def delete_forever(self) -> None:
        """Deletes every hour, until cancelled."""
        while True:
            try:
                await self.delete()
            except ModelyardError as error:  # a store that is away is asked again in an hour
                log.warning("what is old could not be deleted: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def delete(self) -> None:
        """Deletes all there is to delete now."""
        for delete_some in self._deletions():
            deleted = await asyncio.to_thread(delete_some)
            while deleted:
                await asyncio.sleep(self._rest_s)
                deleted = await asyncio.to_thread(delete_some)

    def _deletions(self) -> Iterator[Callable[[], int]]:
        """Calls that each delete some rows, and say how many."""
        now, kept = self._clock.now(), self._kept
        yield partial(self._store.requests.prune, now - timedelta(days=kept.usage_days), BATCH)
        yield partial(self._store.events.prune_old, now - timedelta(days=kept.event_days), BATCH)
        yield partial(self._store.events.prune_excess, kept.event_lines, BATCH)
        yield partial(self._store.audit.prune, now - timedelta(days=kept.audit_days), BATCH)
        yield partial(self._store.responses.prune, now, RESPONSE_BATCH)
        yield partial(self._store.history.prune, now, BATCH)
