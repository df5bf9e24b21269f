"""Which of several servers leads: takes the lease, renews it, and knows when it no longer holds.

Owns the lease's times, and the moment, by this machine's own clock, from which on this server must not act any more: a
process that was stopped for a while finds that moment passed as soon as it goes on, whatever else it did then.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from modelyard.clock import Clock
from modelyard.errors import LeaseLost, ModelyardError
from modelyard.records.leases import NOWHERE, LeaderAddress, Lease
from modelyard.store.leases import Leases

log = logging.getLogger(__name__)

T = TypeVar("T")

ANSWER_S = 1.0
"""How long a request waits for the database to say who leads; then it is answered all the same."""
UNKNOWN_S = 2.0
"""How long nobody asks again before a request is answered, after nobody could say who leads."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds. A leader that dies is followed after `lease_s + ask_s` at most, and what the next one then does before
    it answers. One that cannot renew its lease stops acting `margin_s` before it ends; three renewals in a row must
    fail or be late for that."""

    lease_s: float = 2.0
    renew_s: float = 0.4
    margin_s: float = 0.5
    ask_s: float = 0.2


class Leadership:
    """One server's part in it. Methods belong to the event loop's thread; the database is asked on a thread of its own,
    for which nothing else in this process waits."""

    def __init__(
        self,
        leases: Leases,
        holder: str,
        holder_name: str,
        clock: Clock,
        times: LeaseTimes | None = None,
        address: LeaderAddress = NOWHERE,
    ) -> None:
        """`holder`: this server's id; `holder_name`: as others are to name it; `address`: where it is followed."""
        self._leases = leases
        self._holder = holder
        self._holder_name = holder_name
        self._clock = clock
        self._times = times or LeaseTimes()
        self._address = address
        self._held_until = self._unknown_until = -math.inf
        self._renewing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "lease")
        self.token = 0
        """With which this server leads, or has led last."""

    @property
    def held(self) -> bool:
        """Whether this server leads at this moment, for certain. To be asked before each act."""
        return self._clock.monotonic() < self._held_until

    @property
    def may_answer(self) -> bool:
        """Whether requests may be answered in the leader's name: while this server leads, and for a while after nobody
        could say who does, since nobody else can have taken the lease then. Where not, `confirm` asks."""
        now = self._clock.monotonic()
        return now < self._held_until or now < self._unknown_until

    async def confirm(self) -> bool:
        """The same, asked of the database where it is not known, as after this process was stopped for a while."""
        if self.may_answer:
            return True
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.renew()
        except LeaseLost:
            return False
        except (ModelyardError, TimeoutError):
            self._note_unknown()
        return True

    async def take(self) -> None:
        """Returns once this server leads, with a new `token`. A database that is away is asked again."""
        failing = False
        while True:
            try:
                if await self.try_to_take():
                    return
                failing = False
            except ModelyardError as error:
                if not failing:
                    log.warning("who leads is unknown, asking again until it is known: %s", error)
                failing = True
            await asyncio.sleep(self._times.ask_s)

    async def try_to_take(self) -> bool:
        """Whether this server leads now, under a new `token`. Raises Unavailable when nobody can say."""
        asked_at = self._clock.monotonic()
        take = partial(self._leases.take, self._holder, self._holder_name, self._times.lease_s, self._address)
        lease = await self._ask(take)
        if lease is None:
            return False
        self.token = lease.token
        self._note(asked_at)
        return True

    async def keep(self) -> None:
        """Renews the lease again and again; raises LeaseLost once another server leads."""
        failing = False
        while True:
            await asyncio.sleep(self._times.renew_s)
            try:
                await self.renew()
            except LeaseLost:
                raise
            except ModelyardError as error:
                self._note_unknown()
                if not failing:
                    log.warning("the lease cannot be renewed, nothing is launched or stopped after it: %s", error)
                failing = True
            else:
                if failing:
                    log.warning("the lease is renewed again")
                failing = False

    async def renew(self) -> None:
        """Asks the database once, whoever calls at the same time. Raises LeaseLost when another server leads,
        Unavailable when nobody can say."""
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(), name="renew the lease")
            self._renewing.add_done_callback(self._renewed)
        await asyncio.shield(self._renewing)

    async def find(self) -> Lease | None:
        """Who leads, or led last. Raises Unavailable."""
        return await self._ask(self._leases.find)

    async def release(self) -> None:
        """Gives the lease back, so that the next server need not wait for its end."""
        self._held_until = self._unknown_until = -math.inf
        if self.token:
            await self._ask(partial(self._leases.release, self.token))

    def close(self) -> None:
        """Asks nothing more."""
        self._held_until = -math.inf
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _renew(self) -> None:
        asked_at = self._clock.monotonic()
        if not await self._ask(partial(self._leases.renew, self.token, self._times.lease_s)):
            self._held_until = self._unknown_until = -math.inf
            raise LeaseLost()
        self._note(asked_at)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody may

    def _note(self, asked_at: float) -> None:
        """It ends later than this by the database's clock, which read no less when the lease was written."""
        self._held_until = asked_at + self._times.lease_s - self._times.margin_s

    def _note_unknown(self) -> None:
        self._unknown_until = self._clock.monotonic() + UNKNOWN_S

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)
