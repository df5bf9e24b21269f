"""Jobs: models that somebody asked to be made available. One row for each model, however many accounts asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import count

from sqlalchemy import ColumnElement, Connection, Row, Select, false, func, or_, select, update

from modelyard.records.jobs import Job, JobState, since_asked
from modelyard.store.database import Database, begun_anew, insert_into
from modelyard.store.tables import accounts, job_askers, jobs

OVER = (JobState.DONE, JobState.FAILED)
_QUEUED = {"state": JobState.QUEUED, "message": "Job queued"}


class Jobs:
    """The queue, and what became of every job."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = count(1)
        self.changes = 0
        """Another number after each change that was made by this object: who waits for one need not look in vain."""

    def _note_change(self) -> None:
        """Of two threads at once one may set its number after that of the other, which is another one too."""
        self.changes = next(self._numbers)

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """A transaction whose end is noted."""
        with self._database.write() as connection:
            yield connection
        self._note_change()

    @begun_anew
    def ask(self, model_id: str, account_id: str, now: datetime, *, again: bool = False) -> tuple[Job, bool]:
        """The model's job, queued when there is none; True when this call queued it. The account sees it from now on,
        as `since_asked` has it.

        `again`: a job that is over is queued once more. Atomic: of several at once exactly one queues it. Raises
        NotFound when there is no such account.
        """
        fresh = {
            "model_id": model_id,
            **_QUEUED,
            "attempts": 0,
            "created_at": now,
            "modified_at": now,
        }
        with self._changing() as connection:
            statement = (
                insert_into(connection, jobs)
                .values(fresh)
                .on_conflict_do_update(
                    index_elements=["model_id"],
                    set_={**_QUEUED, "modified_at": now, "started_at": None, "ended_at": None},
                    where=jobs.c.state.in_(OVER) if again else false(),
                )
                .returning(jobs.c.model_id)
            )
            queued = connection.execute(statement).one_or_none() is not None
            asker = {"model_id": model_id, "account_id": account_id, "asked_at": now}
            connection.execute(insert_into(connection, job_askers).values(asker).on_conflict_do_nothing())
            row = connection.execute(_of(account_id).where(jobs.c.model_id == model_id)).one()
        return _job(row), queued

    def count_open(self, account_id: str) -> int:
        """How many of the jobs that an account asked for are not over."""
        statement = (
            select(func.count())
            .select_from(jobs)
            .where(jobs.c.state.not_in(OVER), jobs.c.model_id.in_(_asked_by(account_id)))
        )
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    @begun_anew
    def claim(self, server_id: str, now: datetime) -> Job | None:
        """Begins a job that waits; None when none does. Of several servers one gets it.

        It is the turn of the account whose last job began longest ago, by its weight: one of 3 waits a third as long as
        one of 1. Of its jobs, it is the turn of the one that has waited longest.
        """
        with self._database.write() as connection:
            job = _claim(connection, server_id, now)
        if job is not None:
            self._note_change()
        return job

    def move(self, model_id: str, state: JobState, message: str, now: datetime) -> None:
        """Notes how far a job under way has got; DONE and FAILED end it. One that is over, or queued, stays so."""
        ended_at = now if state in OVER else None
        with self._changing() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.model_id == model_id, jobs.c.state.not_in((*OVER, JobState.QUEUED)))
                .values(state=state, message=message, modified_at=now, ended_at=ended_at)
            )

    @begun_anew
    def cancel(self, model_id: str, message: str, now: datetime) -> bool:
        """Ends a job that waits or is under way, for everybody who has asked for it; whether there was one."""
        with self._changing() as connection:
            ended = connection.execute(
                update(jobs)
                .where(jobs.c.model_id == model_id, jobs.c.state.not_in(OVER))
                .values(state=JobState.FAILED, message=message, modified_at=now, ended_at=now)
            )
        return ended.rowcount > 0

    def requeue_interrupted(self, server_id: str) -> int:
        """Queues what was under way when this server ended, ahead of what was queued; how many that were."""
        return self._requeue(or_(jobs.c.server_id == server_id, jobs.c.server_id.is_(None)))

    def requeue_those_of_others(self, server_id: str) -> int:
        """The same for other servers: for the one server of this database, which knows that no other one lives."""
        return self._requeue(jobs.c.server_id != server_id)

    @begun_anew
    def _requeue(self, whose: ColumnElement[bool]) -> int:
        under_way = jobs.c.state.not_in((*OVER, JobState.QUEUED)) & whose
        with self._changing() as connection:
            return connection.execute(
                update(jobs)
                .where(under_way)
                .values(
                    state=JobState.QUEUED,
                    message="Queued again: the server was stopped while it worked on this",
                    modified_at=jobs.c.started_at,
                    started_at=None,
                    server_id=None,
                )
            ).rowcount

    def find(self, model_id: str, account_id: str | None = None) -> Job | None:
        """The model's job; with an account, only if it asked for it, and as `since_asked` has it."""
        statement = _of(account_id).where(jobs.c.model_id == model_id)
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else _job(row)

    def list_waiting(self) -> Sequence[tuple[str, str]]:
        """The jobs that wait, by model, each with every account that has asked for it; the longest waiting first."""
        statement = (
            select(job_askers.c.model_id, job_askers.c.account_id)
            .join(jobs, jobs.c.model_id == job_askers.c.model_id)
            .where(jobs.c.state == JobState.QUEUED)
            .order_by(jobs.c.modified_at, job_askers.c.model_id, job_askers.c.asked_at)
        )
        with self._database.read() as connection:
            return [(row.model_id, row.account_id) for row in connection.execute(statement)]

    def list(self, account_id: str | None = None, limit: int = 100) -> Sequence[Job]:
        """The jobs one account asked for, as `since_asked` has them (None: all), those that changed last first."""
        statement = _of(account_id).order_by(jobs.c.modified_at.desc(), jobs.c.model_id).limit(limit)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(statement)]


def _claim(connection: Connection, server_id: str, now: datetime) -> Job | None:
    for model_id, account_id in _by_turn(connection, now):
        statement = (
            update(jobs)
            .where(jobs.c.model_id == model_id, jobs.c.state == JobState.QUEUED)
            .values(
                state=JobState.DOWNLOADING,
                message="Looking for the model's files",
                attempts=jobs.c.attempts + 1,
                started_at=now,
                ended_at=None,
                modified_at=now,
                server_id=server_id,
            )
            .returning(jobs)
        )
        if (row := connection.execute(statement).one_or_none()) is not None:
            return replace(_job(row), account_id=account_id)
    return None


def _by_turn(connection: Connection, now: datetime) -> Sequence[tuple[str, str]]:
    """The jobs that wait, each with the account on whose turn it comes, in order."""
    last = (
        select(job_askers.c.account_id, func.max(jobs.c.started_at).label("began_at"))
        .join(jobs, jobs.c.model_id == job_askers.c.model_id)
        .group_by(job_askers.c.account_id)
        .subquery()
    )
    waiting = (
        select(jobs.c.model_id, job_askers.c.account_id, last.c.began_at, accounts.c.weight)
        .join(job_askers, job_askers.c.model_id == jobs.c.model_id)
        .join(last, last.c.account_id == job_askers.c.account_id)
        .join(accounts, accounts.c.id == job_askers.c.account_id)
        .where(jobs.c.state == JobState.QUEUED)
        .order_by(jobs.c.modified_at, jobs.c.model_id)
    )
    rows = connection.execute(waiting).all()
    rows = sorted(rows, key=lambda row: _turn(row.began_at, row.weight or 1, now))
    return [(row.model_id, row.account_id) for row in rows]


def _turn(began_at: datetime | None, weight: int, now: datetime) -> tuple[float, int]:
    """Whose turn is first: the lowest. By the seconds since an account's last job began, times its weight; one that
    never had a job has waited for ever. Of equals, the one with the larger weight."""
    waited_s = math.inf if began_at is None else (now - began_at).total_seconds()
    return -waited_s * weight, -weight


def _asked_by(account_id: str) -> Select[tuple[str]]:
    return select(job_askers.c.model_id).where(job_askers.c.account_id == account_id)


def _of(account_id: str | None) -> Select[tuple[object, ...]]:
    """The jobs that an account asked for, each with the moment; None: all."""
    if account_id is None:
        return select(jobs)
    return (
        select(jobs, job_askers.c.asked_at)
        .join(job_askers, job_askers.c.model_id == jobs.c.model_id)
        .where(job_askers.c.account_id == account_id)
    )


def _job(row: Row[tuple[object, ...]]) -> Job:
    fields = dict(row._mapping)
    del fields["server_id"]
    asked_at = fields.pop("asked_at", None)
    job = Job(**{**fields, "state": JobState(fields["state"])})
    return job if asked_at is None else since_asked(job, asked_at)
