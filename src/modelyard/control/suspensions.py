"""Whose clusters may run nothing for now, since their account has no funds: each is told when that begins and ends.

Owns what they were told. Knows no bill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modelyard.control.desired import DesiredState
from modelyard.control.records import Records
from modelyard.control.replicas import ManagedCluster
from modelyard.errors import ModelyardError

SuspensionOf = Callable[[str], ModelyardError | None]
"""Why an account, by its id, may run nothing for now; None when it may."""


class Suspensions:
    """Asks for an account when one of its clusters is looked at, and for all of them now and then."""

    def __init__(self, suspension_of: SuspensionOf, desired: DesiredState, records: Records) -> None:
        self._suspension_of = suspension_of
        self._desired = desired
        self._records = records
        self._suspended: set[str] = set()
        self._unasked: list[str] = []
        """Accounts of this round."""

    def consider(self, managed: ManagedCluster) -> None:
        """Without funds nothing new is begun: what is running drains, what waits is told why."""
        suspension = self._suspension_of(managed.cluster.account_id)
        if suspension is not None and managed.suspension is None:
            self._records.event(managed.cluster, "unpaid", suspension.message)
        elif suspension is None and managed.suspension is not None:
            self._records.event(managed.cluster, "paid", "there are funds again")
        managed.suspension = suspension

    def begin_round(self) -> None:
        """All accounts are asked for once more; what is left of the round before comes first."""
        if not self._unasked:
            self._unasked = list(self._desired.accounts())

    @property
    def has_more(self) -> bool:
        """Whether there are accounts of this round that `find_changed` has not come to."""
        return bool(self._unasked)

    def find_changed(self, most: int) -> Iterator[ManagedCluster]:
        """The clusters of accounts whose funds have run out, or are there again, since they were asked for last; of the
        next `most` accounts of this round."""
        asked = self._unasked[-most:]
        del self._unasked[-most:]
        for account_id in asked:
            is_suspended = self._suspension_of(account_id) is not None
            if is_suspended != (account_id in self._suspended):
                (self._suspended.add if is_suspended else self._suspended.discard)(account_id)
                yield from self._desired.list(account_id)
