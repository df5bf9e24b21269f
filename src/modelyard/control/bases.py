"""Which replica of its base an adapter's replica runs in, or whether it has a process of its own.

Owns the tie between the clusters of an account's adapters and that of their base. Starts and stops nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from modelyard.catalog.adapters import loaded_bytes, runs_beside
from modelyard.control.desired import DesiredState
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.states import ReplicaState
from modelyard.engine.base import Need, Place
from modelyard.records.models import ModelCard


class Bases:
    """The bases of one server's adapters. Loop thread only."""

    def __init__(
        self, desired: DesiredState, form_of: Callable[[ModelCard], ModelCard], look_at: Callable[[str], None]
    ) -> None:
        """`form_of`: what a replica of a model loads. `look_at`: told of a cluster, by its id, of which another number
        of replicas may be needed."""
        self._desired = desired
        self._form_of = form_of
        self._look_at = look_at

    def find(self, managed: ManagedCluster, card: ModelCard) -> ManagedCluster | None:
        """The cluster in whose replicas those of an adapter run, which is tied to it from now on; None: they have
        processes of their own, as those of all that is no adapter have. What a job asks for is measured by itself."""
        base = card.base
        if base is None or managed.temporary or managed.merges or not self._may_share(card, base):
            self.part(managed)
            return None
        found = self._desired.ensure_base(managed.cluster.account_id, base.model_id)
        if found is not managed.base:
            self.part(managed)
            managed.base = found
            found.adapters[managed.cluster.id] = managed
            self._look_at(found.cluster.id)
        return found

    def part(self, managed: ManagedCluster) -> None:
        """Unties an adapter from its base."""
        base = managed.base
        managed.leave_base()
        if base is not None:
            self._desired.release_base(base)
            self._look_at(base.cluster.id)

    def _may_share(self, card: ModelCard, base: ModelCard) -> bool:
        return runs_beside(card) and self._form_of(base).inspection == base.inspection


def find_free(base: ManagedCluster, managed: ManagedCluster) -> Replica | None:
    """A ready replica of the base in whose process the adapter does not run yet; of several, the one with the fewest
    adapters. Pure."""
    taken = set(managed.beside().values())
    free = [
        replica
        for replica in base.replicas.values()
        if replica.state is ReplicaState.READY and replica.place is not None and replica.id not in taken
    ]
    return min(free, key=lambda replica: len(base.adapters_in(replica.id)), default=None)


def need_beside(card: ModelCard, place: Place) -> Need:
    """What an adapter takes up in the process of a replica of its base."""
    held_bytes = loaded_bytes(card.inspection)
    return Need(0, held_bytes) if place.devices else Need(held_bytes)
