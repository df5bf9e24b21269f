"""Whose turn it is in the queue of jobs, told in the logs of those who have asked for them.

Owns what those were told, so that nobody reads a line twice. Decides nothing: the queue in the store says who is next.
"""

from __future__ import annotations

import asyncio

from modelyard.control.journal import Journal
from modelyard.records.jobs import Job
from modelyard.store.store import Store

OWN_UNDER_WAY = "waiting for its turn; another job of this account is under way"
OTHERS_UNDER_WAY = "waiting for its turn; the job of another account is under way"
OWN_FIRST = "waiting for its turn; another job of this account goes first"
OTHERS_FIRST = "waiting for its turn; another account, whose last job began no later for its weight, goes first"
BEGINS = "its job begins: it is the turn of this account"
BEGINS_FOR_OTHERS = "its job begins: it is the turn of another account, which has asked for it too"


class JobTurns:
    """Of the jobs of one server. Loop thread only."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._under_way: Job | None = None
        self._told: set[tuple[str, str, str]] = set()
        """Model, account and words, of the jobs that wait."""

    def note_asked(self, model_id: str, account_id: str) -> None:
        """An account has asked for a job that waits; where another one is under way, it is told so."""
        if self._under_way is not None and self._under_way.model_id != model_id:
            own = self._under_way.account_id == account_id
            self._tell_once(model_id, account_id, OWN_UNDER_WAY if own else OTHERS_UNDER_WAY)

    async def note_begun(self, job: Job) -> None:
        """A job begins, on the turn of its `account_id`; the others go on to wait. Raises Unavailable."""
        self._under_way = job
        waiting = dict.fromkeys(await asyncio.to_thread(self._store.jobs.list_waiting))
        told = {account_id for model_id, account_id, _ in self._told if model_id == job.model_id}
        for account_id in told | {job.account_id}:
            own = account_id == job.account_id
            self._tell(job.model_id, account_id, "job", BEGINS if own else BEGINS_FOR_OTHERS)
        self._told = {each for each in self._told if each[:2] in waiting}
        for model_id, account_id in waiting:
            self._tell_once(model_id, account_id, OWN_FIRST if account_id == job.account_id else OTHERS_FIRST)

    def note_ended(self) -> None:
        """No job is under way."""
        self._under_way = None

    def _tell_once(self, model_id: str, account_id: str, words: str) -> None:
        if (model_id, account_id, words) not in self._told:
            self._told.add((model_id, account_id, words))
            self._tell(model_id, account_id, "queued", words)

    def _tell(self, model_id: str, account_id: str, kind: str, words: str) -> None:
        self._journal.event(account_id, model_id, None, kind, words)
