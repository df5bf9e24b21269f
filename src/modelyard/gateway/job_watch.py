"""What is new of jobs, for one listener, who asks again and again. Owns what that listener was told; reads the database
only when a job has changed here, and now and then for what other programs change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from modelyard.gateway.event_streams import message
from modelyard.gateway.shapes.jobs import Job, show_job
from modelyard.records import jobs as records

READ_ANYWAY_S = 10.0
"""How late a change is told that this server has not made."""


class JobWatch:
    """Of those jobs that `read` finds, however many there are of them."""

    def __init__(self, changes: Callable[[], int], read: Callable[[], Sequence[records.Job]]) -> None:
        """`changes`: another number whenever a job has changed; `read`: the jobs, from the store. Blocking."""
        self._changes = changes
        self._read = read
        self._seen: int | None = None
        self._read_at = 0.0
        self._told: dict[str, Job] = {}

    async def look(self) -> Sequence[bytes]:
        """Each job that has changed since the last call, oldest change first; all there are with the first one, which
        ends with `known`. Raises Unavailable."""
        changes, now = self._changes(), monotonic()
        if changes == self._seen and now < self._read_at + READ_ANYWAY_S:
            return ()
        found = [show_job(job) for job in reversed(await asyncio.to_thread(self._read))]
        changed = [message("job", job) for job in found if job != self._told.get(job.model_id)]
        known = [message("known", {})] if self._seen is None else []
        self._told = {job.model_id: job for job in found}
        self._seen, self._read_at = changes, now
        return [*changed, *known]
