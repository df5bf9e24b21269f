"""Who has changed what: written with every change of the operator's nouns, and for attempts that were denied.

Owns how much a stranger or an account can make the server write of what it is denied.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from modelyard.accounts.attempts import group_of
from modelyard.clock import Clock
from modelyard.levels import Levels
from modelyard.records.audit import Actor, AuditLine
from modelyard.store.audit import Audit

DENIED_AT_ONCE, DENIED_PER_S = 20, 1 / 60
"""Lines of denied attempts for one account or address."""
MOST_DENIED_AT_ONCE, MOST_DENIED_PER_S = 200, 1 / 6
"""Lines of all of them together: some ten thousand a week at most."""
EVERYBODY = "*"


class AuditTrail:
    """Writes what one actor does. Blocking."""

    def __init__(self, table: Audit, clock: Clock, actor: Actor) -> None:
        self._table = table
        self._clock = clock
        self._actor = actor

    def change(self) -> AbstractContextManager[None]:
        """The transaction of a change and its lines: all of it is written, or nothing when the block raises. Such
        changes wait for each other, so that what was before is what the one before has left."""
        return self._table.turn()

    def note(
        self,
        action: str,
        account: str | None,
        subject: str,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds a line, as `AuditLine` explains it; of values that were and are the same, it holds none. Call it at the
        end of the transaction of the change."""
        if before is not None and after is not None:
            changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
            before = {name: before.get(name) for name in changed}
            after = {name: after.get(name) for name in changed}
        self._table.add(AuditLine(self._clock.now(), self._actor, action, account, subject, before, after))


class DeniedAttempts:
    """What becomes of attempts that are denied: a line each, as long as there are not too many. Loop thread only, apart
    from `write`, which blocks."""

    def __init__(self, table: Audit, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._each = Levels(clock, DENIED_PER_S)
        self._all = Levels(clock, MOST_DENIED_PER_S)

    def may_note(self, account_id: str | None, address: str | None) -> bool:
        """Whether one more attempt, of an account or of a stranger at an address, is to be written; counts it."""
        who = account_id or f"address {group_of(address)}"
        if self._each.of(who) + 1 > DENIED_AT_ONCE or self._all.of(EVERYBODY) + 1 > MOST_DENIED_AT_ONCE:
            return False
        self._each.add(who, 1)
        self._all.add(EVERYBODY, 1)
        return True

    def write(self, actor: Actor, action: str, subject: str, reason: str) -> None:
        """Adds the line."""
        line = AuditLine(self._clock.now(), actor, action, None, subject, outcome="denied", reason=reason)
        self._table.add(line)
