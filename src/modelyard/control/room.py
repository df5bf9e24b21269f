"""The memory of one node during one turn of the loop: who holds it, who may be asked to leave, who was promised it.

Reads clusters and replicas; moves none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modelyard.control.placement import Evict, Placement, Tenant, place
from modelyard.control.replicas import Supervised
from modelyard.control.states import HOLDS_MEMORY, ReplicaState
from modelyard.engine.base import Node

BOOTED = frozenset({ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY})
STRANGER = "a model of another account"
"""What an account reads where another account's model stands."""


class Room:
    """Asked for one replica after the other, the longest waiting first."""

    def __init__(self, node: Node, clusters: Collection[Supervised], now: float, held: Collection[Tenant] = ()) -> None:
        """`held`: memory that is set aside for other work than replicas."""
        self._node = node
        self._clusters = clusters
        self._now = now
        self._held = held
        self._claimed_bytes = 0

    def look(self, need_bytes: int) -> Placement:
        """Whether there is room for other work than a replica, without asking anybody to leave."""
        tenants = [*self._held, *self._tenants(None)]
        return place(need_bytes, self._node.memory_bytes, tenants, may_evict=False, claimed_bytes=self._claimed_bytes)

    def find(self, asking: Supervised, need_bytes: int) -> Placement:
        """Whether a replica fits. One that is told to evict is promised the room: who asks later cannot take it."""
        placement = place(
            need_bytes,
            self._node.memory_bytes,
            [*self._held, *self._tenants(asking)],
            may_evict=may_evict(asking),
            claimed_bytes=self._claimed_bytes,
        )
        if isinstance(placement, Evict):
            self._claimed_bytes += need_bytes
        return placement

    def _tenants(self, asking: Supervised | None) -> Iterator[Tenant]:
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
                    )


def may_evict(asking: Supervised) -> bool:
    """A cluster may push others out for its `min`, and for one replica in any case; what it adds for speed waits."""
    booted = sum(state in BOOTED for state in asking.states())
    return booted < max(1, asking.bounds().min)


def name_for(reader: Supervised | None, supervised: Supervised) -> str:
    """A cluster's model, as the account of `reader` may know it."""
    same_account = reader is not None and reader.cluster.account_id == supervised.cluster.account_id
    return supervised.cluster.model_id if same_account else STRANGER
