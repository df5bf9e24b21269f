"""Which clusters the control loop looks at next: those that something happened to, and those whose time has come.

Owns the marks and the due times, and wakes the loop. Knows of clusters their ids and whose they are. Loop thread only.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence

DUE_AT_ONCE = 50
"""Clusters whose time has come that are marked in one turn of the loop: those that were taken up together may be due
together."""


class WorkQueue:
    """Each cluster is in it once, however much happened to it. Accounts take turns; of each, the longest marked cluster
    is taken first."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        """Set when there is something to look at, or somebody has waited for long enough."""
        self._account_of: Callable[[str], str] = no_account
        self._marked: dict[str, str] = {}
        """Each with its account."""
        self._turns: dict[str, dict[str, None]] = {}
        """The same by account, the one whose turn it is first."""
        self._due: dict[str, float] = {}
        self._times: list[tuple[float, str]] = []  # with those that `_due` does not hold any more

    def tell_accounts(self, account_of: Callable[[str], str]) -> None:
        """`account_of`: whose a cluster is, by its id, from now on."""
        self._account_of = account_of

    def wake(self) -> None:
        """Something has changed that is no one cluster's."""
        self.changed.set()

    def add(self, cluster_id: str) -> None:
        """Something has happened to a cluster. Idempotent."""
        self._mark(cluster_id)
        self.changed.set()

    def add_at(self, cluster_id: str, at: float) -> None:
        """A cluster is to be looked at then, a monotonic time, at the latest."""
        known = self._due.get(cluster_id)
        if known is None or at < known:
            self._due[cluster_id] = at
            heapq.heappush(self._times, (at, cluster_id))

    def set_due(self, cluster_id: str, at: float | None) -> None:
        """A cluster that was just looked at is to be looked at then, whatever was due before; None: nothing is."""
        self._due.pop(cluster_id, None)
        if at is not None:
            self.add_at(cluster_id, at)

    def take(self, now: float, most: int) -> Sequence[str]:
        """The clusters to look at now, no more than `most`; the others come with the next call."""
        self._mark_due(now)
        taken: list[str] = []
        while self._turns and len(taken) < most:
            account_id = next(iter(self._turns))
            own = self._turns.pop(account_id)
            taken.append(cluster_id := next(iter(own)))
            del own[cluster_id], self._marked[cluster_id]
            if own:
                self._turns[account_id] = own
        if self._marked or self._are_due(now):
            self.changed.set()
        return taken

    def forget(self, cluster_id: str) -> None:
        """There is no such cluster any more."""
        if (account_id := self._marked.pop(cluster_id, None)) is not None:
            own = self._turns[account_id]
            del own[cluster_id]
            if not own:
                del self._turns[account_id]
        self._due.pop(cluster_id, None)

    def _mark_due(self, now: float) -> None:
        for _ in range(DUE_AT_ONCE):
            if not self._are_due(now):
                return
            at, cluster_id = heapq.heappop(self._times)
            if self._due.get(cluster_id) == at:
                del self._due[cluster_id]
                self._mark(cluster_id)

    def _are_due(self, now: float) -> bool:
        return bool(self._times) and self._times[0][0] <= now

    def _mark(self, cluster_id: str) -> None:
        if cluster_id not in self._marked:
            account_id = self._marked[cluster_id] = self._account_of(cluster_id)
            self._turns.setdefault(account_id, {})[cluster_id] = None

    async def wait(self, now: float, most_s: float) -> None:
        """Returns when something has changed or the next cluster is due, after `most_s` at the latest."""
        if self._times:
            most_s = min(most_s, max(0.0, self._times[0][0] - now))
        timer = asyncio.get_running_loop().call_later(most_s, self.changed.set)
        try:
            await self.changed.wait()
        finally:
            timer.cancel()


def no_account(_cluster_id: str) -> str:
    """All clusters are of one account, until somebody says whose they are."""
    return ""
