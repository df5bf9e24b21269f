"""Who holds memory on which node, and who waits for some: kept from look to look, so that a launch among thousands of
nodes need not ask all replicas.

Owns the sums, and the order of those that wait. Each look at a cluster tells it what the cluster has; decides nothing.
Loop thread only.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelyard.clock import Clock
from modelyard.control.fairness import Turns
from modelyard.control.machines import Machines
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.states import ReplicaState
from modelyard.control.urgency import becomes_urgent_at, urgency
from modelyard.engine.base import Need, Node

Queued = tuple[ManagedCluster, Replica]
BACK_S = 60.0
"""How long a node that was lost is waited for by what fits on no other: an agent is back within seconds, a machine that
starts anew within a minute or so."""


@dataclass(eq=False, slots=True)
class Held:
    """One replica's. `memory_bytes`, `total_bytes`: of its node, and with its device's, as they were summed up last;
    `boots`: it is among those that boot."""

    managed: ManagedCluster
    replica: Replica
    node: str
    memory_bytes: int = 0
    total_bytes: int = 0
    boots: bool = False


class Holdings:
    """Of all nodes."""

    def __init__(self, active: Mapping[str, ManagedCluster], clock: Clock) -> None:
        """`active`: the clusters that have replicas, by id."""
        self._active = active
        self._clock = clock
        self._queue: Turns[Queued] = Turns()
        self._queued: dict[str, dict[str, Replica]] = {}
        """By cluster, then by id, those that are in the queue."""
        self._patient: list[tuple[float, int, str]] = []
        """When a cluster has a replica in the queue that has waited long by then; a heap. Equal times come in the order
        of the calls, by their numbers."""
        self._puts = itertools.count()
        self._models: Counter[str] = Counter()
        self._held: dict[str, Held] = {}
        self._on: defaultdict[str, dict[str, Held]] = defaultdict(dict)
        self._of: defaultdict[str, dict[str, Held]] = defaultdict(dict)
        self._booting: Counter[str] = Counter()
        self._all_booting = 0
        self._used: Counter[str] = Counter()
        self._account_bytes: Counter[str] = Counter()
        self._account_memory: Counter[str] = Counter()
        self._account_instances: Counter[str] = Counter()
        self._fullness: Mapping[bool, list[tuple[int, int, str]]] = {}
        """By whether they have devices, a heap of nodes by bytes that are missing, some out of date."""
        self._asked_last = 0
        self._lost: dict[str, tuple[Node, float]] = {}
        """By name, nodes that took new replicas, and until when they may come back."""
        self.machines = Machines.of(())
        self.changes = 0
        """How often somebody has come to hold more, or less, or to wait."""

    # --- what is told ---

    def know(self, nodes: Sequence[Node]) -> Machines:
        """Takes which nodes there are."""
        if nodes is not self.machines.nodes and nodes != self.machines.nodes:
            self.changes += 1
            self._note_lost(nodes)
            self.machines = Machines.of(nodes)
            self._fullness = {False: [], True: []}
            for name in self.machines.positions:
                self._push(name)
        return self.machines

    def _note_lost(self, nodes: Sequence[Node]) -> None:
        names = {node.name for node in nodes}
        until = self._clock.monotonic() + BACK_S
        gone = {node.name: (node, until) for node in self.machines.accepting if node.name not in names}
        self._lost = {name: lost for name, lost in {**self._lost, **gone}.items() if name not in names}

    def note(self, managed: ManagedCluster) -> None:
        """Takes what the cluster has now. Idempotent. Whoever gives replicas to a cluster, or has one hold more, sees
        to it that this is called before the next launch."""
        waiting: dict[str, Replica] = {}
        for replica in managed.replicas.values():
            if replica.state is ReplicaState.QUEUED:
                waiting[replica.id] = replica
            elif replica.place is not None:
                self._note_held(managed, replica, replica.place.node)
        if waiting or managed.cluster.id in self._queued:
            self._note_queued(managed, waiting)

    def ended(self, replica_id: str) -> None:
        """A replica holds nothing any more. Idempotent."""
        held = self._held.pop(replica_id, None)
        if held is not None:
            account_id = held.managed.cluster.account_id
            del self._on[held.node][replica_id], self._of[account_id][replica_id]
            self._count(held, 0, 0)
            self._count_boot(held, boots=False)
            self._account_instances[account_id] -= held.replica.beside is None

    def set_aside(self, node: str, more_bytes: int) -> None:
        """A node's memory is held for other work than replicas, or, where it is less than nothing, no longer."""
        self.changes += 1
        self._used[node] += more_bytes
        self._push(node)

    def _note_held(self, managed: ManagedCluster, replica: Replica, node: str) -> None:
        held = self._held.get(replica.id)
        if held is None:
            account_id = managed.cluster.account_id
            held = self._held[replica.id] = self._on[node][replica.id] = Held(managed, replica, node)
            self._of[account_id][replica.id] = held
            self._account_instances[account_id] += replica.beside is None
        held.managed = managed
        self._count_boot(held, boots=not replica.was_ready)
        total_bytes = replica.reserved_bytes + replica.reserved_device_bytes
        if (held.memory_bytes, held.total_bytes) != (replica.reserved_bytes, total_bytes):
            self._count(held, replica.reserved_bytes, total_bytes)

    def _count(self, held: Held, memory_bytes: int, total_bytes: int) -> None:
        account_id = held.managed.cluster.account_id
        self.changes += 1
        self._account_bytes[account_id] += total_bytes - held.total_bytes
        self._account_memory[account_id] += memory_bytes - held.memory_bytes
        self._used[held.node] += memory_bytes - held.memory_bytes
        held.memory_bytes, held.total_bytes = memory_bytes, total_bytes
        self._push(held.node)

    def _count_boot(self, held: Held, *, boots: bool) -> None:
        more = boots - held.boots
        if more:
            held.boots = boots
            self._booting[held.managed.cluster.account_id] += more
            self._all_booting += more

    def _note_queued(self, managed: ManagedCluster, waiting: dict[str, Replica]) -> None:
        cluster, now = managed.cluster, self._clock.monotonic()
        known = self._queued.pop(cluster.id, {})
        for replica_id in known.keys() - waiting.keys():
            self._queue.drop((cluster.id, replica_id))
        if waiting:
            self._queued[cluster.id] = waiting
        self._models[cluster.model_id] += len(waiting) - len(known)
        if not self._models[cluster.model_id]:
            del self._models[cluster.model_id]
        for replica in waiting.values():
            if replica.id not in known:
                self.changes += 1
                if (at := becomes_urgent_at(managed, replica)) > now:
                    heapq.heappush(self._patient, (at, next(self._puts), cluster.id))
            urgent = urgency(managed, replica, now=now)
            self._queue.put((cluster.id, replica.id), cluster.account_id, urgent, (managed, replica))

    # --- who waits ---

    @property
    def any_queued(self) -> bool:
        """Whether a replica may wait to be launched."""
        return bool(self._queue)

    @property
    def queued_models(self) -> Collection[str]:
        """The models of those that wait, by id."""
        return self._models.keys()

    def note_urgent(self, now: float, most: int) -> bool:
        """Those that have waited long by now go first, of so many clusters; whether that is all of them."""
        for _ in range(most):
            if not self._are_urgent(now):
                return True
            cluster_id = heapq.heappop(self._patient)[2]
            if (managed := self._active.get(cluster_id)) is not None:
                self.note(managed)
                waiting = self._queued.get(cluster_id, {}).values()
                later = [at for each in waiting if (at := becomes_urgent_at(managed, each)) > now]
                if later:  # a boot has taken longer meanwhile
                    heapq.heappush(self._patient, (min(later), next(self._puts), cluster_id))
        return not self._are_urgent(now)

    def _are_urgent(self, now: float) -> bool:
        return bool(self._patient) and self._patient[0][0] <= now

    def rank_queued(self, share_of: Callable[[str], float], most: int) -> bool:
        """Finds the turns of so many of the accounts that wait; whether all have one, so that `take_queued` takes no
        longer than the replica that it finds."""
        return self._queue.rank(share_of, most)

    def take_queued(self, share_of: Callable[[str], float]) -> Queued | None:
        """The replica that is to be launched next, each once in a round; None: the round has ended. `share_of`: what an
        account holds for its weight."""
        while (found := self._queue.take(share_of)) is not None:
            managed, replica = found
            if replica.state is ReplicaState.QUEUED and managed.replicas.get(replica.id) is replica:
                return found
            self.note(managed)
        return None

    def begin_round(self) -> None:
        """Each that waits is taken once more."""
        self._queue.begin_round()

    # --- what is asked ---

    def get(self, replica_id: str) -> tuple[ManagedCluster, Replica]:
        """The same of one that is known to be there. Raises KeyError."""
        found = self.find(replica_id)
        if found is None:
            raise KeyError(replica_id)
        return found

    def find(self, replica_id: str) -> tuple[ManagedCluster, Replica] | None:
        """A replica that holds memory, and whose it is."""
        held = self._held.get(replica_id)
        if held is None:
            return None
        if held.managed.replicas.get(replica_id) is held.replica:
            return held.managed, held.replica
        for managed in self._active.values():  # another cluster has taken it over, at which nobody has looked since
            if replica_id in managed.replicas:
                self.note(managed)
                return managed, managed.replicas[replica_id]
        return None

    def booting_of(self, account_id: str) -> int:
        """An account's replicas that start or load; those stopped meanwhile too, until they are gone."""
        return self._booting[account_id]

    @property
    def booting(self) -> int:
        """The same of all accounts."""
        return self._all_booting

    def replicas_of(self, account_id: str) -> Iterable[Held]:
        """An account's that hold memory."""
        return self._of[account_id].values()

    def of_account(self, account_id: str) -> tuple[int, int]:
        """What its replicas hold in all, in bytes, and how many instances they are."""
        return self._account_bytes[account_id], self._account_instances[account_id]

    def need_of(self, account_id: str) -> Need:
        """What its replicas hold of nodes' memory, and of devices'."""
        memory_bytes = self._account_memory[account_id]
        return Need(memory_bytes, self._account_bytes[account_id] - memory_bytes)

    def find_node(
        self, need_bytes: int, preferred: Collection[str], avoided: Container[str], claimed: Mapping[str, int]
    ) -> str | None:
        """A node with so much memory free now: one of the `preferred`, else any; of these one without devices, then the
        one with the most free, of equal ones the first. None when there is none, or none but those `avoided`.
        `claimed`: bytes, by node, that others were promised."""
        positions = self.machines.positions
        there = (positions[name] for name in preferred if name in positions and name not in avoided)
        fitting = [
            (bool(node.devices), self._used[node.name] - node.memory_bytes, position, node.name)
            for position, node in there
            if node.memory_bytes - self._used[node.name] - claimed.get(node.name, 0) >= need_bytes
        ]
        if fitting:
            return min(fitting)[-1]
        for with_devices in (False, True):
            found = self._find_emptiest(self._fullness.get(with_devices, []), need_bytes, avoided, claimed)
            if found is not None:
                return found
        return None

    def lost_nodes(self) -> list[Node]:
        """Those that were there a moment ago, and may be back in another."""
        now = self._clock.monotonic()
        return [node for node, until in self._lost.values() if now < until]

    def nodes_to_ask(self, need_bytes: int, most: int) -> Sequence[Node]:
        """The nodes that take new replicas, have so much memory in all, and are looked at when room is to be made: all
        where no more than `most` replicas hold memory; else as many as hold so many, the next ones with each call.
        Where none is large enough, the largest."""
        accepting = self.machines.accepting
        if len(self._held) <= most:
            return accepting
        large = [node for node in accepting if node.memory_bytes >= need_bytes]
        if not large:
            return [node for node in accepting if node.memory_bytes == self.machines.largest_bytes][:1]
        asked: list[Node] = []
        held = 0
        while held < most and len(asked) < len(large):
            node = large[self._asked_last % len(large)]
            self._asked_last += 1
            asked.append(node)
            held += len(self._on[node.name])
        return asked

    def clusters_at(self, nodes: Iterable[Node], account_id: str | None) -> Collection[ManagedCluster]:
        """Those with replicas on one of the nodes, and those of the account, each once; adapters in a replica of their
        base aside."""
        held = [each for node in nodes for each in self._on[node.name].values()]
        if account_id is not None:
            held += self._of[account_id].values()
        found = (self.find(each.replica.id) for each in held if each.replica.beside is None)
        return {each[0].cluster.id: each[0] for each in found if each is not None}.values()

    def _find_emptiest(
        self,
        fullness: list[tuple[int, int, str]],
        need_bytes: int,
        avoided: Container[str],
        claimed: Mapping[str, int],
    ) -> str | None:
        passed, found = [], None
        while fullness and found is None:
            entry = missing_bytes, _, name = fullness[0]
            known = self.machines.positions.get(name)
            if known is None or self._used[name] - known[1].memory_bytes != missing_bytes:
                heapq.heappop(fullness)
            elif -missing_bytes < need_bytes:
                break
            elif name in avoided or -missing_bytes - claimed.get(name, 0) < need_bytes:
                passed.append(heapq.heappop(fullness))
            else:
                found = entry[2]
        for each in passed:
            heapq.heappush(fullness, each)
        return found

    def _push(self, name: str) -> None:
        known = self.machines.positions.get(name)
        if known is None:
            return
        position, node = known
        fullness = self._fullness[bool(node.devices)]
        heapq.heappush(fullness, (self._used[name] - node.memory_bytes, position, name))
        if len(fullness) > 8 * len(self.machines.positions) + 64:
            fullness[:] = [
                (self._used[name] - node.memory_bytes, position, name)
                for name, (position, node) in self.machines.positions.items()
                if bool(node.devices) == bool(known[1].devices)
            ]
            heapq.heapify(fullness)
