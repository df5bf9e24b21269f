"""The room for replicas during one turn of the loop, on the node and within each account's quota: who holds it, who may
be asked to leave, who was promised it.

Reads clusters and replicas; moves none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator

from modelyard.control.placement import (
    ACCOUNT_INSTANCES,
    ACCOUNT_MEMORY,
    MACHINE,
    Bound,
    Evict,
    Limit,
    Placement,
    Tenant,
    place,
    place_within,
)
from modelyard.control.replicas import Supervised
from modelyard.control.states import HOLDS_MEMORY, ReplicaState
from modelyard.engine.base import Node
from modelyard.records.accounts import Quota

QuotaOf = Callable[[str], Quota]
"""What an account may have, by its id, as far as it is known at this moment."""
BOOTED = frozenset({ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY})
STRANGER = "a model of another account"
"""What an account reads where another account's model stands."""


class Room:
    """Asked for one replica after the other, the longest waiting first."""

    def __init__(
        self,
        node: Node,
        clusters: Collection[Supervised],
        quota_of: QuotaOf,
        now: float,
        held: Collection[Tenant] = (),
    ) -> None:
        """`held`: memory that is set aside for other work than replicas."""
        self._node = node
        self._clusters = clusters
        self._quota_of = quota_of
        self._now = now
        self._held = held
        self._claimed: Counter[tuple[Limit, str]] = Counter()

    def look(self, need_bytes: int) -> Placement:
        """Whether there is room for other work than a replica, without asking anybody to leave."""
        bound = Bound(self._node.memory_bytes, self._claimed[claim(MACHINE, "")])
        return place(need_bytes, bound, list(self._tenants(None)), may_evict=False)

    def find(self, asking: Supervised, need_bytes: int) -> Placement:
        """Whether a replica fits. One that is told to evict is promised the room: who asks later cannot take it.

        An account that has all it may hold makes room for itself among its own idle replicas, never among others'.
        """
        bounds = list(self._bounds(asking.cluster.account_id))
        placement = place_within(need_bytes, bounds, list(self._tenants(asking)), may_evict=may_evict(asking))
        if isinstance(placement, Evict):
            for bound in bounds:
                self._claimed[claim(bound.limit, asking.cluster.account_id)] += bound.limit.size(need_bytes)
        return placement

    def _bounds(self, account_id: str) -> Iterator[Bound]:
        quota = self._quota_of(account_id)
        limits = (
            (ACCOUNT_MEMORY, quota.memory_bytes),
            (ACCOUNT_INSTANCES, quota.instances),
            (MACHINE, self._node.memory_bytes),
        )
        for limit, most in limits:
            if most is not None:
                yield Bound(most, self._claimed[claim(limit, account_id)], limit)

    def _tenants(self, asking: Supervised | None) -> Iterator[Tenant]:
        yield from self._held
        for supervised in self._clusters:
            idle_s = supervised.idle_s(self._now) if supervised is not asking else None
            spare = supervised.states().count(ReplicaState.READY) - supervised.bounds().min
            for replica in supervised.replicas.values():
                if replica.state in HOLDS_MEMORY:
                    evictable = idle_s is not None and replica.state is ReplicaState.READY and spare > 0
                    spare -= evictable
                    yield Tenant(
                        replica.id,
                        name_for(asking, supervised),
                        replica.reserved_bytes,
                        idle_s if evictable else None,
                        leaving=replica.stopping is not None,
                        own=belong_together(asking, supervised),
                    )


def claim(limit: Limit, account_id: str) -> tuple[Limit, str]:
    """Under which name a promise is kept: an account's own, or everyone's."""
    return limit, account_id if limit.own else ""


def may_evict(asking: Supervised) -> bool:
    """A cluster may push others out for its `min`, and for one replica in any case; what it adds for speed waits."""
    booted = sum(state in BOOTED for state in asking.states())
    return booted < max(1, asking.bounds().min)


def belong_together(reader: Supervised | None, supervised: Supervised) -> bool:
    """Whether one account owns both."""
    return reader is not None and reader.cluster.account_id == supervised.cluster.account_id


def name_for(reader: Supervised | None, supervised: Supervised) -> str:
    """A cluster's model, as the account of `reader` may know it."""
    return supervised.cluster.model_id if belong_together(reader, supervised) else STRANGER
