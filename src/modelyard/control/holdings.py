"""Who holds memory on which node, and who waits for some: kept from look to look, so that a launch among thousands of
nodes need not ask all replicas.

Owns the sums. Each look at a cluster tells it what the cluster has; decides nothing. Loop thread only.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.states import ReplicaState
from modelyard.engine.base import Need, Node


@dataclass(eq=False, slots=True)
class Held:
    """One replica's. `memory_bytes`, `total_bytes`: of its node, and with its device's, as they were summed up last."""

    managed: ManagedCluster
    replica: Replica
    node: str
    memory_bytes: int = 0
    total_bytes: int = 0


class Holdings:
    """Of all nodes."""

    def __init__(self, active: Mapping[str, ManagedCluster]) -> None:
        """`active`: the clusters that have replicas, by id."""
        self._active = active
        self._queued: dict[str, ManagedCluster] = {}
        self._booting: dict[str, ManagedCluster] = {}
        self._held: dict[str, Held] = {}
        self._on: defaultdict[str, dict[str, Held]] = defaultdict(dict)
        self._used: Counter[str] = Counter()
        self._account_bytes: Counter[str] = Counter()
        self._account_memory: Counter[str] = Counter()
        self._account_instances: Counter[str] = Counter()
        self._nodes: Sequence[Node] = ()
        self._by_name: dict[str, tuple[int, Node]] = {}
        self._fullness: list[tuple[int, int, str]] = []  # with entries that are out of date

    # --- what is told ---

    def note(self, managed: ManagedCluster) -> None:
        """Takes what the cluster has now. Idempotent. Whoever gives replicas to a cluster, or has one hold more, sees
        to it that this is called before the next launch."""
        for replica in managed.replicas.values():
            if replica.state is ReplicaState.QUEUED:
                self._queued[managed.cluster.id] = managed
            elif replica.place is not None:
                self._note_held(managed, replica, replica.place.node)

    def ended(self, replica_id: str) -> None:
        """A replica holds nothing any more. Idempotent."""
        held = self._held.pop(replica_id, None)
        if held is not None:
            del self._on[held.node][replica_id]
            self._count(held, 0, 0)
            self._account_instances[held.managed.cluster.account_id] -= held.replica.beside is None

    def _note_held(self, managed: ManagedCluster, replica: Replica, node: str) -> None:
        held = self._held.get(replica.id)
        if held is None:
            held = self._held[replica.id] = self._on[node][replica.id] = Held(managed, replica, node)
            self._account_instances[managed.cluster.account_id] += replica.beside is None
        held.managed = managed
        if not replica.was_ready:
            self._booting[managed.cluster.id] = managed
        total_bytes = replica.reserved_bytes + replica.reserved_device_bytes
        if (held.memory_bytes, held.total_bytes) != (replica.reserved_bytes, total_bytes):
            self._count(held, replica.reserved_bytes, total_bytes)

    def _count(self, held: Held, memory_bytes: int, total_bytes: int) -> None:
        account_id = held.managed.cluster.account_id
        self._account_bytes[account_id] += total_bytes - held.total_bytes
        self._account_memory[account_id] += memory_bytes - held.memory_bytes
        self._used[held.node] += memory_bytes - held.memory_bytes
        held.memory_bytes, held.total_bytes = memory_bytes, total_bytes
        self._push(held.node)

    # --- what is asked ---

    def get(self, replica_id: str) -> tuple[ManagedCluster, Replica]:
        """The same of one that is known to be there. Raises KeyError."""
        found = self.find(replica_id)
        if found is None:
            raise KeyError(replica_id)
        return found

    def find(self, replica_id: str) -> tuple[ManagedCluster, Replica] | None:
        """A replica that the engine knows, and whose it is."""
        held = self._held.get(replica_id)
        if held is not None and held.managed.replicas.get(replica_id) is held.replica:
            return held.managed, held.replica
        for managed in self._active.values():  # nobody has looked at it since it was given replicas
            if replica_id in managed.replicas:
                self.note(managed)
                return managed, managed.replicas[replica_id]
        return None

    def queued(self) -> list[tuple[ManagedCluster, Replica]]:
        """The replicas that wait to be launched."""
        found = []
        for cluster_id, managed in list(self._queued.items()):
            waiting = [each for each in managed.replicas.values() if each.state is ReplicaState.QUEUED]
            if not waiting or cluster_id not in self._active:
                del self._queued[cluster_id]
            found += [(managed, replica) for replica in waiting]
        return found

    def booting(self) -> Counter[str]:
        """By account, the replicas that start or load; those stopped meanwhile too, until they are gone."""
        counts: Counter[str] = Counter()
        for cluster_id, managed in list(self._booting.items()):
            replicas = managed.replicas.values()
            count = sum(replica.place is not None and not replica.was_ready for replica in replicas)
            if count:
                counts[managed.cluster.account_id] += count
            else:
                del self._booting[cluster_id]
        return counts

    def clusters_on(self, node: str) -> Iterator[ManagedCluster]:
        """Those with replicas there, each once; adapters in a replica of their base aside."""
        holders = (held.managed for held in self._on[node].values() if held.replica.beside is None)
        return iter({managed.cluster.id: managed for managed in holders}.values())

    def of_account(self, account_id: str) -> tuple[int, int]:
        """What its replicas hold in all, in bytes, and how many instances they are."""
        return self._account_bytes[account_id], self._account_instances[account_id]

    def need_of(self, account_id: str) -> Need:
        """What its replicas hold of nodes' memory, and of devices'."""
        memory_bytes = self._account_memory[account_id]
        return Need(memory_bytes, self._account_bytes[account_id] - memory_bytes)

    def find_node(
        self,
        nodes: Sequence[Node],
        need_bytes: int,
        preferred: Collection[str],
        avoided: Container[str],
        claimed: Mapping[str, int],
    ) -> str | None:
        """A node with so much memory free now: one of the `preferred`, else any; of these the one with the most free,
        of equal ones the first. None when there is none, or none but those `avoided`. `claimed`: bytes, by node, that
        others were promised."""
        self._know(nodes)
        there = (self._by_name[name] for name in preferred if name in self._by_name and name not in avoided)
        fitting = [
            (self._used[node.name] - node.memory_bytes, position, node.name)
            for position, node in there
            if node.memory_bytes - self._used[node.name] - claimed.get(node.name, 0) >= need_bytes
        ]
        return min(fitting)[2] if fitting else self._find_emptiest(need_bytes, avoided, claimed)

    def _find_emptiest(self, need_bytes: int, avoided: Container[str], claimed: Mapping[str, int]) -> str | None:
        passed, found = [], None
        while self._fullness and found is None:
            entry = missing_bytes, _, name = self._fullness[0]
            known = self._by_name.get(name)
            if known is None or self._used[name] - known[1].memory_bytes != missing_bytes:
                heapq.heappop(self._fullness)
            elif -missing_bytes < need_bytes:
                break
            elif name in avoided or -missing_bytes - claimed.get(name, 0) < need_bytes:
                passed.append(heapq.heappop(self._fullness))
            else:
                found = entry[2]
        for each in passed:
            heapq.heappush(self._fullness, each)
        return found

    def _know(self, nodes: Sequence[Node]) -> None:
        if nodes is not self._nodes and nodes != self._nodes:
            self._by_name = {node.name: (position, node) for position, node in enumerate(nodes) if node.accepting}
            self._fullness = []
            for name in self._by_name:
                self._push(name)
        self._nodes = nodes

    def _push(self, name: str) -> None:
        known = self._by_name.get(name)
        if known is None:
            return
        position, node = known
        heapq.heappush(self._fullness, (self._used[name] - node.memory_bytes, position, name))
        if len(self._fullness) > 8 * len(self._by_name) + 64:
            self._fullness = [
                (self._used[name] - node.memory_bytes, position, name)
                for name, (position, node) in self._by_name.items()
            ]
            heapq.heapify(self._fullness)
