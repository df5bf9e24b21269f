"""How many calls other than inferences an account may make, so that they take little of the server from others.

Owns a level for each account and for each address without a key, and the turns of an account's reads. A call counts for
what it costs: a number of its own, and more for a large answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from modelyard.accounts.attempts import group_of
from modelyard.clock import Clock
from modelyard.errors import Throttled
from modelyard.levels import Levels

BURST_S = 5.0
"""An account that has been quiet may make so many seconds' calls at once."""
PATIENCE_S = 2.0
"""A call that comes too early waits as long for its turn, then is refused: whoever asks again at once waits again."""
READS_AT_ONCE = 8
"""Of one account. More would not be answered sooner: one core makes all answers."""
BYTES_PER_CALL = 16 * 1024
"""A larger answer counts for another call for each of these. Measured: as long as a small read takes (about 1 ms)."""

Count = Callable[[int], None]
"""Takes the size of a call's answer, in bytes."""


class CallBudget:
    """The budgets of all accounts and addresses. Loop thread only."""

    def __init__(self, per_s: float, clock: Clock) -> None:
        """`per_s`: calls that each of them may make a second; 0: without limit."""
        self._per_s = per_s
        self._levels = Levels(clock, per_s)
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def call(
        self, account_id: str | None, address: str | None, cost: float, *, read: bool
    ) -> AsyncIterator[Count]:
        """One call, counted for as long as the block runs and from then on. `account_id` None: of a stranger at
        `address`. Waits when it comes too early. Raises Throttled."""
        if not self._per_s or not cost:
            yield lambda size: None
            return
        who = f"address {group_of(address)}" if account_id is None else account_id
        turns = self._turns_of(who) if read else None
        await self._take_turn(turns)
        try:
            await self._take(who, cost)
            yield lambda size: self._count(who, size)
        finally:
            if turns is not None:
                turns.release()

    def _turns_of(self, who: str) -> asyncio.Semaphore:
        turns = self._turns.get(who)
        if turns is None:
            turns = self._turns[who] = asyncio.Semaphore(READS_AT_ONCE)
        return turns

    async def _take_turn(self, turns: asyncio.Semaphore | None) -> None:
        if turns is None:
            return
        if not turns.locked():
            await turns.acquire()  # at once
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await turns.acquire()
        except TimeoutError:
            words = f"{READS_AT_ONCE} of your reads are under way, which is as many as are answered at once."
            raise Throttled(words, limit=READS_AT_ONCE, retry_after_s=PATIENCE_S) from None

    async def _take(self, who: str, cost: float) -> None:
        over = self._levels.add(who, cost) - self._per_s * BURST_S
        if over <= 0:
            return
        wait_s = over / self._per_s
        try:
            await asyncio.sleep(min(wait_s, PATIENCE_S))
        except asyncio.CancelledError:
            self._levels.add(who, -cost)
            raise
        if wait_s > PATIENCE_S:
            self._levels.add(who, -cost)
            left_s = math.ceil(wait_s - PATIENCE_S)
            raise Throttled(
                f"Your calls that are no inferences are limited to {self._per_s:g} per second; changes count for "
                f"more, and so does each {BYTES_PER_CALL // 1024} kB of an answer. Try again in {left_s} s.",
                limit=self._per_s,
                retry_after_s=left_s,
            )

    def _count(self, who: str, size: int) -> None:
        if size >= BYTES_PER_CALL:
            self._levels.add(who, size / BYTES_PER_CALL)
