"""One replica and one cluster as the reconciler holds them. Owns the moves between states; no I/O."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from modelyard.control.arrivals import Arrivals
from modelyard.control.autoscaler import Demand, Load, replicas_for, target_of, wanted_replicas
from modelyard.control.failures import Failures
from modelyard.control.keep_alive import Gaps
from modelyard.control.plan import ClusterView, ReplicaView
from modelyard.control.policy import Policy
from modelyard.control.routes import Route
from modelyard.control.states import LIVE, ClusterStatus, ReplicaState, check_move, cluster_status
from modelyard.engine.base import Place, Sighting
from modelyard.engine.link import ReplicaLink
from modelyard.errors import ClusterOff, ModelyardError
from modelyard.protocol import NO_WORK, Work
from modelyard.records.clusters import Capacity, Cluster
from modelyard.records.models import ModelCard

ROUNDING_S = 0.001
"""A moment that has passed by less may only seem to have."""
LEAST_RELOAD_S = 0.1
"""A boot that nobody has measured, or that found everything ready, counts as much."""


@dataclass(frozen=True, slots=True)
class BootSettings:
    """What is asked of a cluster's replicas beyond their model's card; None: what the card says.

    `max_batch`: most requests in one batch. `reserve_bytes`: counted against the node in place of the model's memory.
    `limit_bytes`: what each may allocate before it is refused more; None: no limit. `billed`: its account pays.
    `most_threads`, `all_cores`: see ReplicaSpec.
    """

    max_batch: int | None = None
    reserve_bytes: int | None = None
    limit_bytes: int | None = None
    billed: bool = True
    most_threads: int | None = None
    all_cores: bool = False


@dataclass(eq=False, slots=True)
class Replica:
    """One replica. `since`: monotonic time its state began (STARTING and LOADING share one). From STARTING to the end
    it is at `place`, where `reserved_bytes` count against the node and `reserved_device_bytes` against the device;
    `peak_bytes` and `peak_device_bytes` are the most it was seen to hold; `priced_bytes` is what its account pays for.
    `stopping`: its end was asked for, with this reason. `ready_at`: monotonic time it became ready. `started`:
    it has, or had, a process, as the ledger knows. `withdrawn`: its end was asked for between the two. `sighting`: what
    the engine said of it when that was last looked at. `beside`: the replica, by id, of its base in whose process it is
    as an adapter; nobody is billed for it, and no quota counts it. `counted_work`: what its worker
    has done, as far as that was counted. `untold_until`: until then requests may be on it that nobody has told of."""

    id: str
    since: float
    state: ReplicaState = ReplicaState.QUEUED
    place: Place | None = None
    reserved_bytes: int = 0
    reserved_device_bytes: int = 0
    priced_bytes: int = 0
    peak_bytes: int = 0
    peak_device_bytes: int = 0
    link: ReplicaLink | None = None
    slots: int = 1
    stopping: str | None = None
    counts_as_failure: bool = False
    ready_at: float | None = None
    started: bool = False
    withdrawn: bool = False
    sighting: Sighting | None = None
    beside: str | None = None
    counted_work: Work = NO_WORK
    untold_until: float = -math.inf

    @property
    def was_ready(self) -> bool:
        """Whether it has served: its death is then no failed boot."""
        return self.ready_at is not None

    def use_device(self, held_bytes: int) -> bool:
        """It was seen to hold this much of a device; that counts, also where its model's figure said less, which is
        returned."""
        self.peak_device_bytes = max(self.peak_device_bytes, held_bytes)
        if not self.reserved_device_bytes or held_bytes <= self.reserved_device_bytes:
            return False
        self.reserved_device_bytes = held_bytes
        return True

    def move(self, state: ReplicaState, now: float) -> None:
        """Changes state. Raises IllegalMove."""
        check_move(self.state, state)
        if state is not ReplicaState.LOADING:
            self.since = now
        self.state = state


@dataclass(eq=False, slots=True)
class ManagedCluster:
    """One cluster: what is wanted of it, its replicas, and its recent past.

    `floor`: replicas kept without load: `desired` while in use, `min` once idled out, fewer than before once evicted.
    `demand`: what the load calls for, now and over the stable window. `failure`: why it was given up, at `failed_at`.
    `suspension`: why its account may run nothing for now; what is in flight is finished.
    `slots`, `joins`: as its replicas said last; see Sighting. `retry_at`: launch nothing before. `ready_at`: when a
    replica last became ready, `boot_s` after its launch.
    `held_bytes`, `held_device_bytes`: the most that one of its replicas was seen to hold, where that was more than was
    reserved for it.
    `form`: what its replicas load, from the first launch on; None before.
    `removed`: being deleted. `temporary`: a job's, in no store. `unlisted`: in no store either, kept for `adapters`.
    `seen_load`: its requests when they were last counted.
    `arrivals`: how often it is asked; `gaps`: how long it was idle between; `keep_alive_s`: what was learned of these,
    None where its timeout holds. `base`: of an adapter, the cluster in whose replicas its own run; `adapters`: by
    id, those whose replicas run in this one's. `merges`: an adapter whose replicas have processes of their own, since
    a worker has refused it beside its base.
    """

    cluster: Cluster
    route: Route
    floor: int
    settings: BootSettings = BootSettings()
    replicas: dict[str, Replica] = field(default_factory=dict)
    demand: Demand = field(default_factory=Demand)
    wanted: int = 0
    slots: int = 1
    joins: bool = False
    failures: Failures = field(default_factory=Failures)
    retry_at: float = 0.0
    failure: ModelyardError | None = None
    failed_at: float = 0.0
    suspension: ModelyardError | None = None
    ready_at: float = 0.0
    boot_s: float = 0.0
    waiting_for: str | None = None
    held_bytes: int = 0
    held_device_bytes: int = 0
    form: ModelCard | None = None
    removed: bool = False
    temporary: bool = False
    unlisted: bool = False
    seen_load: int = 0
    arrivals: Arrivals = field(default_factory=Arrivals)
    gaps: Gaps = field(default_factory=Gaps)
    keep_alive_s: float | None = None
    base: ManagedCluster | None = None
    adapters: dict[str, ManagedCluster] = field(default_factory=dict)
    merges: bool = False

    @property
    def off(self) -> bool:
        """Whether nothing may run."""
        return self.removed or not self.cluster.enabled or self.cluster.capacity.max == 0

    @property
    def stays_down(self) -> bool:
        """Whether nothing is to run at this moment."""
        return self.off or self.suspension is not None or self.failure is not None

    def counted(self) -> Cluster:
        """The cluster with what was answered since that was last counted."""
        if self.route.answered_at is None:
            return self.cluster
        inferences = self.cluster.inferences + self.route.finished
        return replace(self.cluster, inferences=inferences, last_inference_at=self.route.answered_at)

    def bounds(self) -> Capacity:
        """The capacity in force at this moment."""
        return Capacity(0, 0, 0) if self.stays_down else self.cluster.capacity

    def take_over(self, other: ManagedCluster) -> None:
        """Takes another cluster's replicas and adapters, which is left with none."""
        self.replicas.update(other.replicas)
        self.adapters.update(other.adapters)
        for adapter in other.adapters.values():
            adapter.base = self
        other.replicas.clear()
        other.adapters.clear()
        self.form, self.slots, self.joins = other.form, other.slots, other.joins
        self.ready_at, self.boot_s = other.ready_at, other.boot_s
        self.held_bytes, self.held_device_bytes = other.held_bytes, other.held_device_bytes

    def leave_base(self) -> None:
        """Its replicas run in no other cluster's any more."""
        if self.base is not None:
            self.base.adapters.pop(self.cluster.id, None)
            self.base = None

    @property
    def wanted_by_adapters(self) -> int:
        """Replicas that are needed for one of each adapter's in each."""
        return 0 if self.stays_down else max((each.wanted for each in self.adapters.values()), default=0)

    @property
    def least(self) -> int:
        """Replicas that stay without load."""
        return max(self.cluster.capacity.min, self.wanted_by_adapters)

    def refusal(self) -> ModelyardError | None:
        """What a request gets instead of a place in the queue; None while waiting makes sense."""
        model_id = self.cluster.model_id
        if self.removed:
            return ClusterOff(f"The cluster of {model_id} was deleted while this request waited.")
        if not self.cluster.enabled:
            return ClusterOff(f"The cluster of {model_id} is off.", cause="off", model=model_id)
        if self.cluster.capacity.max == 0:
            words = f"capacity.max of the cluster of {model_id} is 0, so nothing may run."
            return ClusterOff(words, cause="max", model=model_id)
        return self.suspension or self.failure

    @property
    def reload_s(self) -> float:
        """What it takes to have a replica again: as long as the last boot took."""
        return max(self.boot_s, LEAST_RELOAD_S)

    def problem(self) -> ModelyardError | None:
        """Why it cannot run although its owner wants it to."""
        return self.suspension or self.failure

    def states(self) -> list[ReplicaState]:
        """Every replica's state."""
        return [replica.state for replica in self.replicas.values()]

    def links(self) -> dict[str, tuple[ReplicaLink, int]]:
        """The connections to those that take requests, by id, each with its slots."""
        return {
            replica.id: (replica.link, replica.slots)
            for replica in self.replicas.values()
            if replica.state is ReplicaState.READY and replica.link is not None and not self.off
        }

    def beside(self) -> dict[str, str]:
        """Of its replicas that run in the process of another, the ids of both."""
        return {each.id: each.beside for each in self.replicas.values() if each.beside is not None}

    def adapters_in(self, replica_id: str) -> list[tuple[ManagedCluster, Replica]]:
        """The adapters that run in the process of one of its replicas."""
        return [
            (managed, replica)
            for managed in self.adapters.values()
            for replica in managed.replicas.values()
            if replica.beside == replica_id
        ]

    def in_flight(self, replica_id: str) -> int:
        """What one of its replicas has to finish before it ends: slots that are held, and adapters that nobody has
        ended yet."""
        target = self.route.find(replica_id)
        adapters = sum(replica.stopping is None for _, replica in self.adapters_in(replica_id))
        return adapters + (0 if target is None else target.in_flight)

    def idle(self, replica_id: str) -> int:
        """How many of these are slots without a request."""
        target = self.route.find(replica_id)
        return 0 if target is None else target.idle

    def live(self) -> int:
        """Replicas that count towards the wanted number."""
        return sum(replica.state in LIVE for replica in self.replicas.values())

    @property
    def at_rest(self) -> bool:
        """Whether it has nothing, and nothing to do: it stays so until something happens to it."""
        return not (self.replicas or self.route.finished or self.removed or self.route.load().total)

    def next_look_at(self, now: float, policy: Policy) -> float | None:
        """The monotonic time at which something may be due although nothing happens; None: nothing will be."""
        moments = [max(now, moment) for moment in self._due_moments(now, policy) if moment >= now - ROUNDING_S]
        if self.in_motion:
            moments.append(now + policy.tick_s)
        return min(moments, default=None)

    @property
    def in_motion(self) -> bool:
        """Whether it is to be looked at soon although nobody tells of anything: it is being removed, requests keep
        replicas that would leave without them, or a replica is launched of which the engine has said nothing yet. Where
        others share its replicas, all that they do counts, too."""
        shares = self.base is not None or bool(self.adapters)
        if self.removed or ((shares or self.wanted > self.kept) and self.route.load().total):
            return True
        return any(
            (shares and (each.state is not ReplicaState.READY or each.stopping is not None))
            or (each.place is not None and each.sighting is None)
            for each in self.replicas.values()
        )

    @property
    def kept(self) -> int:
        """Replicas that it has without load, at this moment."""
        return max(self.floor, self.least)

    def is_enough_for(self, load: Load, policy: Policy) -> bool:
        """Whether that many requests change nothing: as many replicas as it keeps in any case serve them at once, and
        none of these comes or goes."""
        if load.queued or self.wanted > self.kept or self.base is not None or self.adapters or not self.replicas:
            return False
        if min(replicas_for(load.total, self._target(policy.slots_per_target)), self.bounds().max) > self.wanted:
            return False
        return all(each.state is ReplicaState.READY and each.stopping is None for each in self.replicas.values())

    def _due_moments(self, now: float, policy: Policy) -> Iterator[float]:
        """When a pause ends, when it is idle for too long, when its demand may fall, and its replicas' ends."""
        yield self.retry_at
        if (idles_out_at := self.idles_out_at(now)) is not None:
            yield idles_out_at
        yield self.demand.changes_at(policy.stable_window_s)
        for replica in self.replicas.values():
            if replica.state is ReplicaState.DRAINING:
                yield replica.since + policy.drain_s
            elif replica.state is ReplicaState.READY:
                yield replica.untold_until
            else:
                yield replica.since + policy.boot_s

    @property
    def idle_timeout_s(self) -> float:
        """Idle seconds after which it has `min` replicas only."""
        return self.cluster.timeout_s if self.keep_alive_s is None else self.keep_alive_s

    def idles_out_at(self, now: float) -> float | None:
        """The monotonic time, past or to come, from which it has `min` replicas only unless it is used; None while it
        is not idle."""
        idle_s = self.idle_s(now)
        return None if idle_s is None else now - idle_s + self.idle_timeout_s

    def idle_with_adapters_s(self, now: float) -> float | None:
        """The same for it and the adapters in its replicas together."""
        each = [self.idle_s(now), *(each.idle_s(now) for each in self.adapters.values() if each.replicas)]
        return min((idle_s for idle_s in each if idle_s is not None), default=None) if None not in each else None

    def idle_s(self, now: float) -> float | None:
        """Seconds since it last had anything to do; None while it has, while one boots, or before one is ready."""
        states = self.states()
        if ReplicaState.READY not in states or ReplicaState.STARTING in states or ReplicaState.LOADING in states:
            return None
        return None if self.route.load().total else now - max(self.route.last_activity, self.ready_at)

    def aim(self, now: float, slots_per_target: int, window_s: float) -> int:
        """Updates and returns `wanted` for the load of this moment; see `target_of`."""
        needed = self.demand.needed(now, self.route.load().total, self._target(slots_per_target), window_s)
        own = wanted_replicas(self.bounds(), self.floor, needed)
        self.wanted = max(own, self.wanted_by_adapters)
        return self.wanted

    def _target(self, slots_per_target: int) -> int:
        return target_of(self.slots, None if self.form is None else self.form.max_batch, slots_per_target)

    def wake(self) -> None:
        """Back in use by its owner's wish: start with `desired` again, and let bygone failures be bygone."""
        self.floor = self.cluster.capacity.desired
        self.failure = None
        self.failures.clear()
        self.retry_at = 0.0
        self.merges = False

    def use(self) -> None:
        """Back in use by a request: one replica at least stays until the cluster has idled out."""
        self.floor = max(1, self.cluster.capacity.desired)

    def rest(self, keep: int) -> None:
        """Out of use: no more than `keep` replicas without load, from now on."""
        self.floor = min(self.floor, keep)
        self.demand.clear()

    def view(self, now: float, emptied: Collection[Place] = ()) -> ClusterView:
        """What `plan_cluster` looks at. `emptied`: the nodes, and the single devices, whose replicas are to move."""
        return ClusterView(
            wanted=self.wanted,
            replicas=tuple(
                ReplicaView(
                    replica.id,
                    replica.state,
                    self.in_flight(replica.id),
                    age_s=now - replica.since,
                    stopping=replica.stopping is not None,
                    failing=replica.counts_as_failure,
                    base_leaves=self._base_leaves(replica),
                    empties="" if self.temporary else tell_emptied(replica.place, emptied),
                    untold=now < replica.untold_until,
                    idle=self.idle(replica.id),
                )
                for replica in self.replicas.values()
            ),
            backing_off=now < self.retry_at,
            at_once=self.off,
            patient=self.suspension is not None,
        )

    def _base_leaves(self, replica: Replica) -> bool:
        if replica.beside is None:
            return False
        beside = self.base.replicas.get(replica.beside) if self.base is not None else None
        return beside is None or beside.state is not ReplicaState.READY

    def status(self, *, downloading: bool) -> ClusterStatus:
        """The word clients see."""
        return cluster_status(self.states(), self.wanted, downloading=downloading, failed=self.failure is not None)


def tell_emptied(place: Place | None, emptied: Collection[Place]) -> str:
    """Why what is at `place` has to move; empty: it need not."""
    found = next((each for each in place.parts if each in emptied), None) if emptied and place is not None else None
    if found is None:
        return ""
    return f"its device {found.devices[0]} is emptied" if found.devices else "its node is emptied"
