"""How many models an account may have looked up on the hub, with the operator's token, and guessed at.

Owns the counts. What is asked for the server itself has no account, and no limit.
"""

from __future__ import annotations

import math

from modelyard.clock import Clock
from modelyard.errors import Throttled
from modelyard.levels import Levels


class LookupBudget:
    """A minute's lookups at once, and as many a minute from then on, for each account."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        """`per_minute`: 0: without limit."""
        self._per_minute = per_minute
        self._levels = Levels(clock, per_minute / 60)

    def may_take(self, account_id: str | None) -> bool:
        """Counts one more lookup if there is one left; whether there was."""
        if account_id is None or not self._per_minute:
            return True
        if self._levels.of(account_id) + 1 > self._per_minute:
            return False
        self._levels.add(account_id, 1)
        return True

    def take(self, account_id: str | None, model_id: str) -> None:
        """Counts one more. Raises Throttled when there is none left."""
        if self.may_take(account_id):
            return
        wait_s = math.ceil((self._levels.of(account_id or "") + 1 - self._per_minute) * 60 / self._per_minute)
        raise Throttled(
            f"{model_id} is not known here yet, and the models that your account may have looked up are limited to "
            f"{self._per_minute} per minute. Try again in {wait_s} s.",
            cause="lookups",
            limit=self._per_minute,
            retry_after_s=wait_s,
        )
