"""What accounts with a credit or a monthly limit have spent and have left. Owns these figures in memory; the store owns
what they are made of. Other accounts cost nothing to ask for.

What was spent long ago does not change, so it is counted once an hour; every few seconds only what came since is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from modelyard.accounts.ledger import MICROSECOND, least_nano, lines, month_start, total
from modelyard.accounts.limits import check_funds
from modelyard.clock import Clock
from modelyard.errors import ModelyardError, PaymentRequired
from modelyard.records.accounts import Account
from modelyard.records.instances import Instance, Tariff
from modelyard.store.requests import Past
from modelyard.store.store import Store

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How soon a credit that was added anywhere counts."""
COUNT_S = 10.0
"""How old the figures of an account become: one heartbeat."""
RECOUNT_S = 3600.0
UNCOUNTED_S = COUNT_S + 2 * LOOK_S
"""How long after it became ready the figures may not hold an instance yet: their age, and the time to count."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One account's figures, in billionths of a US dollar. `past`: its part that is not counted again for an hour;
    `elsewhere`: all but its requests since `past.since`; `counted_s`: monotonic time of the count."""

    account: Account
    past: Past
    elsewhere: Past
    spent_nano: int
    month_nano: int
    counted_s: float

    def refusal(self, need_nano: int = 0) -> PaymentRequired | None:
        """Why the account may begin nothing new that costs so much; None when it may."""
        try:
            check_funds(self.account, spent_nano=self.spent_nano, month_nano=self.month_nano, need_nano=need_nano)
        except PaymentRequired as error:
            return error
        return None

    def left_nano(self) -> int:
        """What it may still spend: the least of what its credit and its limit leave."""
        credit, limit = self.account.credit_nano, self.account.monthly_limit_nano
        left = []
        if credit is not None:
            left.append(credit - self.spent_nano)
        if limit is not None:
            left.append(limit - self.month_nano)
        return max(0, min(left))


class Funds:
    """Asked on the event loop's thread; counts in another."""

    def __init__(self, store: Store, clock: Clock, tariff: Tariff | None = None) -> None:
        """`clock`: the one that the ledger goes by. `tariff`: the terms of what is launched; None: nobody is billed."""
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._standings: Mapping[str, Standing] = {}
        self._refusals: Mapping[str, PaymentRequired] = {}
        self._recounted_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Counts for the first time. Lives that an earlier server left open count to its last heartbeat: where the
        ledger will close them."""
        await self._refresh(afresh=True, now=None)

    def start(self) -> None:
        """Begins to look again and again. Call it when this server's ledger is in order."""
        self._task = asyncio.create_task(self._look_forever(), name="funds")

    async def close(self) -> None:
        """Stops looking. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def find(self, account_id: str) -> Standing | None:
        """The figures of an account with a credit or a limit, some seconds old."""
        return self._standings.get(account_id)

    @property
    def mark(self) -> object:
        """Another object when any figure may have changed."""
        return self._standings

    def funded(self) -> frozenset[str]:
        """The accounts with a credit or a limit."""
        return frozenset(self._standings)

    def refusals(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """The accounts that may begin nothing new: why, as a message and its data."""
        return {account_id: (error.message, error.data) for account_id, error in self._refusals.items()}

    def refusal(self, account_id: str) -> PaymentRequired | None:
        """Why an account may begin nothing new; None when it may."""
        return self._refusals.get(account_id)

    def launch_refusal(self, account_id: str, begun: Iterable[tuple[int, float]]) -> PaymentRequired | None:
        """Why an account may not launch an instance; None when it may.

        `begun`: the required memory in bytes of that instance and of those it has launched, each with the seconds
        since its time began to count, 0 before. What they cost at least and the figures may not hold yet must be left.
        """
        standing = self._standings.get(account_id)
        if standing is None:
            return None
        uncounted = (least_nano(size, self._tariff) for size, ready_s in begun if ready_s < UNCOUNTED_S)
        return standing.refusal(sum(uncounted))

    def check(self, account_id: str) -> None:
        """Raises PaymentRequired when an account may begin nothing new."""
        if (error := self._refusals.get(account_id)) is not None:
            raise PaymentRequired(error.message, **error.data)  # one error raised again would keep every stack

    async def refresh(self) -> None:
        """Looks whose funds changed, and counts again what is old."""
        await self._refresh(afresh=False, now=self._clock.now())

    async def _look_forever(self) -> None:
        while True:
            try:
                await self.refresh()
            except ModelyardError as error:
                log.warning("the funds of accounts cannot be counted: %s", error)
            except Exception:  # a bug must not let everybody run for free from now on
                log.exception("the funds of accounts could not be counted")
            await asyncio.sleep(LOOK_S)

    async def _refresh(self, *, afresh: bool, now: datetime | None) -> None:
        standings = await asyncio.to_thread(self._count_all, dict(self._standings), afresh, now)
        self._standings = standings
        self._refusals = {id_: error for id_, each in standings.items() if (error := each.refusal()) is not None}

    # --- counting, in a thread ---

    def _count_all(self, known: Mapping[str, Standing], afresh: bool, now: datetime | None) -> dict[str, Standing]:
        monotonic = self._clock.monotonic()
        if monotonic - self._recounted_s >= RECOUNT_S:
            afresh = True
        if afresh:
            self._recounted_s = monotonic
        standings = {}
        for account in self._store.accounts.list_funded():
            before = None if afresh else known.get(account.id)
            if before is not None and before.account == account and monotonic - before.counted_s < COUNT_S:
                standings[account.id] = before
            else:
                past = before.past if before is not None and self._same_month(before.past) else None
                standings[account.id] = self._count(account, past or self._count_past(account), now)
        return standings

    def _same_month(self, past: Past) -> bool:
        return past.month_start == month_start(self._clock.now())

    def _count_past(self, account: Account) -> Past:
        """What an account spent up to a moment before which nothing can change any more."""
        now = self._clock.now()
        lives = self._store.instances.list(account.id)
        since = oldest(
            [life.created_at for life in lives if life.ended_at is None],
            self._store.requests.oldest_open(account.id),
            now - timedelta(seconds=RECOUNT_S),
        )
        over = [life for life in lives if life.ended_at is not None and life.ended_at <= since]
        month = month_start(now)
        return Past(
            since,
            spent_on(over) + self._store.requests.spent_nano(account.id, until=since),
            month,
            spent_on(over, month) + self._store.requests.spent_nano(account.id, since=month, until=since),
        )

    def _count(self, account: Account, past: Past, now: datetime | None) -> Standing:
        lives = self._store.instances.list(account.id, since=past.since)
        elsewhere = replace(
            past,
            spent_nano=past.spent_nano + spent_on(lives, now=now),
            month_nano=past.month_nano + spent_on(lives, past.month_start, now=now),
        )
        requests = self._store.requests
        return Standing(
            account,
            past,
            elsewhere,
            elsewhere.spent_nano + requests.spent_nano(account.id, since=past.since),
            elsewhere.month_nano + requests.spent_nano(account.id, since=max(past.since, past.month_start)),
            self._clock.monotonic(),
        )


def oldest(begun: Iterable[datetime], request: datetime | None, at_most: datetime) -> datetime:
    """A moment before everything that may still change its cost."""
    moments = [*begun, *([] if request is None else [request])]
    return min([at_most, *(moment - MICROSECOND for moment in moments)])


def spent_on(lives: Iterable[Instance], since: datetime | None = None, now: datetime | None = None) -> int:
    """What lives cost from `since` on, in billionths of a US dollar."""
    return total(lines(lives, since, now=now)).amount_nano
