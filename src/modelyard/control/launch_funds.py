"""Whether an account's funds allow one more replica: told by the lives that its figures may not hold yet.

Owns what has ended a moment ago. Knows no bill.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from modelyard.control.holdings import Holdings
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.errors import ModelyardError
from modelyard.records.models import ModelCard

LaunchRefusal = Callable[[str, Iterable[tuple[int, float]]], ModelyardError | None]
"""Why an account may not launch another instance, by the memory each is priced by and the seconds since its time began
to count, 0 before; the new one is among them, and those that ended a moment ago. None when it may."""
ENDED_KEPT_S = 60.0
"""How long an instance that has ended is told of beside those that live: much longer than figures are old."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An instance that has ended, `at` a monotonic time, and whose time counts from another one on."""

    at: float
    account_id: str
    priced_bytes: int
    counts_since: float


class LaunchFunds:
    """Of all accounts. Loop thread only."""

    def __init__(self, holdings: Holdings, launch_refusal: LaunchRefusal) -> None:
        self._holdings = holdings
        self._launch_refusal = launch_refusal
        self._ended: deque[Ended] = deque()

    def note_end(self, managed: ManagedCluster, replica: Replica, now: float) -> None:
        """Keeps for a while what has ended and is billed."""
        while self._ended and now - self._ended[0].at >= ENDED_KEPT_S:
            self._ended.popleft()
        is_billed = managed.settings.billed and replica.beside is None
        if is_billed and (replica.was_ready or replica.withdrawn):
            counts_since = now if replica.ready_at is None else replica.ready_at
            self._ended.append(Ended(now, managed.cluster.account_id, replica.priced_bytes, counts_since))

    def find_refusal(self, managed: ManagedCluster, card: ModelCard, now: float) -> ModelyardError | None:
        """Why its account's funds do not allow a launch, those before it considered."""
        if not managed.settings.billed:
            return None
        account_id = managed.cluster.account_id
        ended = ((each.priced_bytes, now - each.counts_since) for each in self._ended if each.account_id == account_id)
        begun = (
            (each.replica.priced_bytes, 0.0 if each.replica.ready_at is None else now - each.replica.ready_at)
            for each in self._holdings.replicas_of(account_id)
            if each.managed.settings.billed and each.replica.beside is None
        )
        return self._launch_refusal(account_id, chain([(card.memory_bytes, 0.0)], begun, ended))
