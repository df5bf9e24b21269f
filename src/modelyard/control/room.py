"""The room for replicas during one turn of the loop, on all nodes and within each account's quota: who holds it, who
may be asked to leave, who was promised it.

Reads clusters and replicas; moves none of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from modelyard.control.holdings import Holdings
from modelyard.control.limits import ACCOUNT_INSTANCES, ACCOUNT_MEMORY, DEVICE_MEMORY, NODE_MEMORY, Bound, Limit
from modelyard.control.machines import Machines
from modelyard.control.needs import fewest_devices
from modelyard.control.placement import (
    Candidate,
    Evict,
    Fits,
    MemoryHolder,
    Never,
    Placed,
    Placement,
    Wait,
    choose_place,
)
from modelyard.control.replicas import ManagedCluster
from modelyard.control.states import HOLDS_MEMORY, ReplicaState
from modelyard.engine.base import Need, Node, Place
from modelyard.records.accounts import Quota
from modelyard.units import gigabytes

QuotaOf = Callable[[str], Quota]
"""What an account may have, by its id, as far as it is known at this moment."""
LOADS = frozenset({ReplicaState.STARTING, ReplicaState.LOADING})
Claims = Counter[tuple[Limit, str | Place]]
"""What was promised, by limit, and by place or by the account, by its id."""
MOST_ASKED = 200
"""Replicas among which those are sought that are to leave for another: about a millisecond. Of so many, the one that is
missed the least is among the least missed of all."""
BOOTED = frozenset({ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY})
STRANGER = "a model of another account"
"""What an account reads where another account's model stands."""
OTHER_WORK = "other work"
"""What it reads where a job stands that somebody asked for."""


class Room:
    """Asked for one replica after the other, in the order in which they are to have it."""

    def __init__(
        self,
        machines: Machines,
        holdings: Holdings,
        quota_of: QuotaOf,
        now: float,
        held: Collection[MemoryHolder],
        operator_id: str,
        claimed: Claims,
    ) -> None:
        """`held`: what is set aside for other work than replicas. `operator_id`: the account that may know what others
        do. `claimed`: what was promised to those who asked before; what is promised is added."""
        self._machines = machines
        self._holdings = holdings
        self.devices = machines.devices
        """Of each node that has some and takes new replicas."""
        self._quota_of = quota_of
        self._now = now
        self._held = held
        self._operator_id = operator_id
        self._claimed = claimed

    def look(self, need: Need, *, may_evict: bool = False) -> Placement:
        """Whether there is room for other work than a replica. `may_evict`: idle replicas may be asked to leave."""
        here = self._need_here(need)
        if not here.device_bytes and (node := self._holdings.find_node(here.memory_bytes, (), (), {})) is not None:
            return Placed(Place(node), here)
        return self._choose(None, need, [], may_evict=may_evict)

    def find(
        self, asking: ManagedCluster, need: Need, with_files: Collection[str] = (), *, patient: bool = False
    ) -> Placement:
        """Whether a replica fits, and where. One that is told to evict is promised the room: who asks later cannot take
        it. `with_files`: the nodes that have its model's files. `patient`: it asks nobody to leave.

        An account that has all it may hold makes room for itself among its own idle replicas, never among others'.
        Where nobody fits on many nodes with many replicas, those that are to leave are sought among some of them, which
        are others with each call.
        """
        here = self._need_here(need)
        account = list(self._account_bounds(asking.cluster.account_id))
        if (node := self._find_free(asking, here, account, with_files)) is not None:
            return Placed(Place(node), here)
        return self._choose(asking, need, account, with_files, may_evict=may_evict(asking) and not patient)

    def _find_free(
        self, asking: ManagedCluster, need: Need, account: Sequence[Bound], with_files: Collection[str]
    ) -> str | None:
        """The node that `_choose` would choose for a replica that fits without a device; None: it may be another place,
        or none."""
        if need.device_bytes:
            return None
        used_bytes, instances = self._holdings.of_account(asking.cluster.account_id)
        for bound in account:
            used, more = (instances, 1) if bound.limit is ACCOUNT_INSTANCES else (used_bytes, need.total_bytes)
            if used + bound.claimed + more > bound.most:
                return None
        siblings = {replica.place.node for replica in asking.replicas.values() if replica.place is not None}
        claimed = {
            place.node: count
            for (limit, place), count in self._claimed.items()
            if limit is NODE_MEMORY and isinstance(place, Place)
        }
        return self._holdings.find_node(need.memory_bytes, with_files, siblings, claimed)

    def find_beside(self, asking: ManagedCluster, need: Need, place: Place) -> Placement:
        """Whether there is room for an adapter in the process of a replica at `place`; it counts as no instance."""
        account = [each for each in self._account_bounds(asking.cluster.account_id) if each.limit is ACCOUNT_MEMORY]
        return self._choose(asking, need, account, at=place, may_evict=may_evict(asking))

    def find_never(self, account_id: str, need: Need) -> Never | None:
        """Why a replica of the account could not run here even if everybody else left; None when it could."""
        here = self._need_here(need)
        account = list(self._account_bounds(account_id))
        within_account = all(bound.limit.size(here) <= bound.most for bound in account)
        if within_account and not here.device_bytes and here.memory_bytes <= self._machines.largest_bytes:
            return None
        candidates = [
            Candidate(place, tuple(self._bounds_at(node, place)), ())
            for node in self._machines.accepting
            for place in places_of(node, here)
        ]
        found = choose_place(here, account, candidates, may_evict=False)
        if found is None or not isinstance(found[1], Never) or self._find_lost(need, account) is not None:
            return None
        return found[1]

    def _choose(
        self,
        asking: ManagedCluster | None,
        need: Need,
        account: Sequence[Bound],
        with_files: Collection[str] = (),
        *,
        may_evict: bool,
        at: Place | None = None,
    ) -> Placement:
        here = self._need_here(need)
        nodes = self._nodes_to_ask(here, at)
        candidates = [
            each
            for each in self._candidates(asking, here, with_files, nodes, whole_account=bool(account))
            if at in (None, each.place)
        ]
        found = choose_place(here, account, candidates, may_evict=may_evict)
        if found is None:
            return Wait("waiting for a node that takes new replicas")
        candidate, verdict = found
        if isinstance(verdict, Fits):
            return Placed(candidate.place, here)
        if isinstance(verdict, Evict):
            self._claim(asking, here, [*account, *candidate.bounds])
        elif isinstance(verdict, Never) and at is None and (lost := self._find_lost(need, account)) is not None:
            return Wait(f"waiting for node {lost.name}, which was lost a moment ago")
        elif isinstance(verdict, Wait) and at is None and len(nodes) < len(self._machines.accepting):
            return Wait(f"waiting for {gigabytes(here.memory_bytes)} on one of {len(self._machines.accepting)} nodes")
        return verdict

    def _find_lost(self, need: Need, account: Sequence[Bound]) -> Node | None:
        """A node that is not there at this moment, on which a replica could run that may run within the account."""
        if any(bound.size(need) > bound.most for bound in account):
            return None
        for node in self._holdings.lost_nodes():
            there = need if node.devices else without_device(need)
            for place in places_of(node, there):
                if all(bound.size(there) <= bound.most for bound in self._bounds_at(node, place)):
                    return node
        return None

    def _need_here(self, need: Need) -> Need:
        """What is needed where no node has a device: what would lie on one then lies in the node's memory."""
        return need if self.devices else without_device(need)

    def _nodes_to_ask(self, need: Need, at: Place | None) -> Sequence[Node]:
        if at is not None:
            found = self._machines.positions.get(at.node)
            return [] if found is None else [found[1]]
        if need.device_bytes:
            return self._machines.accepting
        return self._holdings.nodes_to_ask(need.memory_bytes, MOST_ASKED)

    def _claim(self, asking: ManagedCluster | None, need: Need, bounds: Sequence[Bound]) -> None:
        account_id = "" if asking is None else asking.cluster.account_id
        for bound in bounds:
            self._claimed[bound.limit, bound.place or account_id] += bound.size(need)

    def _account_bounds(self, account_id: str) -> Iterator[Bound]:
        quota = self._quota_of(account_id)
        for limit, most in ((ACCOUNT_MEMORY, quota.memory_bytes), (ACCOUNT_INSTANCES, quota.instances)):
            if most is not None:
                yield Bound(most, self._claimed[limit, account_id], limit)

    def _candidates(
        self,
        asking: ManagedCluster | None,
        need: Need,
        with_files: Collection[str],
        nodes: Sequence[Node],
        *,
        whole_account: bool,
    ) -> Sequence[Candidate]:
        """The places on these nodes where it could run, the preferred ones first (see `preference`). `whole_account`:
        what the account that asks holds on other nodes counts, too."""
        by_node, own = defaultdict(list), []
        account_id = asking.cluster.account_id if asking is not None and whole_account else None
        for holder in self._memory_holders(asking, self._holdings.clusters_at(nodes, account_id)):
            by_node[node_of(holder)].append(holder)
            if holder.own:
                own.append(holder)
        siblings = Counter(replica.place for replica in (asking.replicas.values() if asking else ()))
        ranked = []
        for node in nodes:
            counting = [*by_node[node.name], *(each for each in own if node_of(each) != node.name)]
            for place in places_of(node, need):
                candidate = Candidate(place, tuple(self._bounds_at(node, place)), counting)
                ranked.append((preference(candidate, node, need, siblings, with_files), candidate))
        return [candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0])]

    def _bounds_at(self, node: Node, place: Place) -> Iterator[Bound]:
        """The limits of the node, and of each device that the place names."""
        alone = len(self._machines.accepting) == 1
        whole = Place(node.name)
        yield Bound(node.memory_bytes, self._claimed[NODE_MEMORY, whole], NODE_MEMORY, whole, alone)
        for device in node.devices:
            if device.name in place.devices:
                one = Place(node.name, (device.name,))
                claimed = self._claimed[DEVICE_MEMORY, one]
                yield Bound(device.memory_bytes, claimed, DEVICE_MEMORY, one, alone, len(place.devices))

    def _memory_holders(
        self, asking: ManagedCluster | None, clusters: Iterable[ManagedCluster]
    ) -> Iterator[MemoryHolder]:
        knows_all = asking is not None and asking.cluster.account_id == self._operator_id
        yield from self._held if knows_all else (replace(each, name=OTHER_WORK, hidden=True) for each in self._held)
        for managed in clusters:
            idle_s = managed.idle_with_adapters_s(self._now) if managed is not asking else None
            least = max(each.bounds().min for each in (managed, *managed.adapters.values()))
            spare = managed.states().count(ReplicaState.READY) - least
            for replica in managed.replicas.values():
                if replica.state in HOLDS_MEMORY and replica.beside is None:
                    beside = [each for _, each in managed.adapters_in(replica.id)]
                    is_known_idle = replica.state is ReplicaState.READY and self._now >= replica.untold_until
                    evictable = idle_s is not None and is_known_idle and spare > 0
                    spare -= evictable
                    yield MemoryHolder(
                        replica.id,
                        name_for(asking, managed, self._operator_id),
                        replica.reserved_bytes + sum(each.reserved_bytes for each in beside),
                        idle_s if evictable else None,
                        leaving=replica.stopping is not None,
                        own=belong_together(asking, managed),
                        device_bytes=replica.reserved_device_bytes + sum(each.reserved_device_bytes for each in beside),
                        place=replica.place,
                        hidden=not may_know(asking, managed, self._operator_id),
                        next_use_s=managed.arrivals.next_use_s(idle_s) if idle_s is not None else None,
                        reload_s=managed.reload_s,
                        loading=replica.state in LOADS and replica.stopping is None,
                    )


def without_device(need: Need) -> Need:
    """The same where there is no device."""
    return Need(need.total_bytes) if need.device_bytes else need


def node_of(holder: MemoryHolder) -> str | None:
    """The node whose memory it holds."""
    return None if holder.place is None else holder.place.node


def places_of(node: Node, need: Need) -> Sequence[Place]:
    """The places on a node that come into question: for what needs a device, each of its devices, or as many together
    as it takes; else the node."""
    if not need.device_bytes:
        return [Place(node.name)]
    devices = [device for device in node.devices if device.accepting]
    return [
        Place(node.name, tuple(device.name for device in chosen))
        for chosen in combinations(devices, fewest_devices(need, devices))
    ]


def preference(
    candidate: Candidate, node: Node, need: Need, siblings: Counter[Place | None], with_files: Collection[str]
) -> tuple[float, ...]:
    """Which of the places that have room a replica is given: the one where these are lowest, in this order.

    1. Few replicas of its own cluster on the node, then on the device: they would share its cores, and die with it.
    2. The model's files are there.
    3. No device, when it needs none.
    4. The devices that it leaves the least room on: a large model still finds an empty one.
    5. The node with the most free memory: what it computes with is then shared by the fewest.
    """
    place = candidate.place
    there = [each for each in candidate.holders if node_of(each) == node.name]
    devices = [bound for bound in candidate.bounds if bound.limit is DEVICE_MEMORY]
    held = sum(bound.size(each.need, each.place) for bound in devices for each in there if bound.covers(each.place))
    return (
        sum(count for each, count in siblings.items() if each is not None and each.node == node.name),
        siblings[place],
        node.name not in with_files,
        bool(node.devices) and not need.device_bytes,
        sum(bound.most for bound in devices) - held,
        sum(each.memory_bytes for each in there) - node.memory_bytes,
    )


def may_evict(asking: ManagedCluster) -> bool:
    """A cluster may push others out for its `min`, and for one replica in any case; what it adds for speed waits."""
    booted = sum(state in BOOTED for state in asking.states())
    return booted < max(1, asking.bounds().min)


def belong_together(reader: ManagedCluster | None, managed: ManagedCluster) -> bool:
    """Whether one account owns both."""
    return reader is not None and reader.cluster.account_id == managed.cluster.account_id


def may_know(reader: ManagedCluster | None, managed: ManagedCluster, operator_id: str) -> bool:
    """Whether the account of `reader` may know what a cluster does: its own, and the operator any."""
    return belong_together(reader, managed) or (reader is not None and reader.cluster.account_id == operator_id)


def name_for(reader: ManagedCluster | None, managed: ManagedCluster, operator_id: str) -> str:
    """A cluster's model, as the account of `reader` may know it."""
    return managed.cluster.model_id if may_know(reader, managed, operator_id) else STRANGER
