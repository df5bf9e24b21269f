"""The slots that one gateway may keep for its next requests, as the process that it follows counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from modelyard.control.routes import Route


@dataclass(eq=False, slots=True)
class Loan:
    """Of one cluster. `lent`: how many; `recalled`: how many of these; `idle`, by replica, and `waiting`: as the
    gateway told last."""

    route: Route
    lent: int = 0
    recalled: int = 0
    idle: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0


class Loans:
    """See the module. Each slot has the number of the question by which it was given."""

    def __init__(self) -> None:
        self._by_number: dict[int, Loan] = {}
        self._by_cluster: dict[str, Loan] = {}

    def add(self, number: int, route: Route) -> None:
        """A slot is lent."""
        loan = self._by_cluster.get(route.cluster_id)
        if loan is None:
            loan = self._by_cluster[route.cluster_id] = Loan(route)
        loan.lent += 1
        self._by_number[number] = loan

    def remove(self, number: int) -> None:
        """A slot was given back; one that was recalled, if any was. Nothing where it was not lent."""
        loan = self._by_number.pop(number, None)
        if loan is not None:
            loan.lent -= 1
            loan.recalled = max(0, loan.recalled - 1)
            self._drop_empty(loan)

    def left(self, cluster_id: str) -> int:
        """How many are lent of a cluster and were not recalled."""
        loan = self._by_cluster.get(cluster_id)
        return 0 if loan is None else loan.lent - loan.recalled

    def count_recalled(self, cluster_id: str) -> int:
        """How many of a cluster were recalled, and not given back yet."""
        loan = self._by_cluster.get(cluster_id)
        return 0 if loan is None else loan.recalled

    def count(self, cluster_id: str, replica_id: str) -> tuple[int, int, int]:
        """How many of these no request holds, as far as it was told, on one replica and on all; and how many there
        are."""
        loan = self._by_cluster.get(cluster_id)
        if loan is None:
            return 0, 0, 0
        idle = max(0, sum(loan.idle.values()) - loan.recalled)
        return min(loan.idle.get(replica_id, 0), idle), idle, loan.lent - loan.recalled

    def recall(self, cluster_id: str, most: int) -> int:
        """Recalls so many, or as many as there are; how many that is."""
        count = min(most, self.left(cluster_id))
        if count > 0:
            self._by_cluster[cluster_id].recalled += count
        return count

    def note(
        self, cluster_id: str, idle: Mapping[str, int], waiting: int
    ) -> tuple[Route, Mapping[str, int], int] | None:
        """What the gateway tells of a cluster: its route, and how much more of both that is than before, by replica and
        in all; None: nothing is lent of it."""
        loan = self._by_cluster.get(cluster_id)
        if loan is None:
            return None
        more_idle, more_waiting = Counter(idle), waiting - loan.waiting
        more_idle.subtract(loan.idle)
        loan.idle, loan.waiting = idle, waiting
        self._drop_empty(loan)
        return loan.route, more_idle, more_waiting

    def end(self) -> Iterator[tuple[Route, Mapping[str, int], int]]:
        """The gateway is gone: the same of all clusters, of which it has nothing any more."""
        for cluster_id in list(self._by_cluster):
            if (told := self.note(cluster_id, {}, 0)) is not None:
                yield told

    def _drop_empty(self, loan: Loan) -> None:
        if not (loan.lent or loan.idle or loan.waiting):
            del self._by_cluster[loan.route.cluster_id]
