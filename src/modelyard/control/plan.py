"""What to do about one cluster's replicas. Pure: no I/O, no clock, no logging; planning twice before an action took
effect is safe, because an action changes the state that asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.control.states import LIVE, ReplicaState


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica as it is now. `age_s`: how long it has been in its state, except that STARTING and LOADING count
    from the launch. `stopping`: its end was asked for already.
    `failing`: it is being ended as a failed boot; what comes in its place is decided when that is counted.
    `in_flight`: its slots that are held, and the adapters in its process, which have requests of their own; `idle`: of
    these slots, those that a gateway keeps without a request. `base_leaves`: it is an adapter in the process of a
    replica that leaves. `empties`: why another one is to take its place, and then it goes: its node or device is
    emptied; empty: none is. `untold`: requests may be on it that nobody has told of yet."""

    id: str
    state: ReplicaState
    in_flight: int = 0
    age_s: float = 0.0
    stopping: bool = False
    failing: bool = False
    base_leaves: bool = False
    empties: str = ""
    untold: bool = False
    idle: int = 0

    @property
    def requests(self) -> int:
        """Its requests, and the adapters in its process."""
        return self.in_flight - self.idle


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One cluster as it is now. `backing_off`: a boot failed a moment ago; launch nothing yet.
    `at_once`: it was deleted or switched off: stop, do not drain. `patient`: what is in flight may take as long as it
    takes."""

    wanted: int
    replicas: tuple[ReplicaView, ...]
    backing_off: bool = False
    at_once: bool = False
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a replica may boot and drain, in seconds."""

    boot_s: float
    drain_s: float


@dataclass(frozen=True, slots=True)
class Launch:
    """Add a replica."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Take a replica out of the routes; what it has in flight may finish."""

    replica_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End a replica now. `failed`: it counts against the crash budget."""

    replica_id: str
    reason: str
    failed: bool = False


Action = Launch | Drain | Stop

_GIVE_UP_ORDER = {ReplicaState.QUEUED: 0, ReplicaState.STARTING: 1, ReplicaState.LOADING: 2, ReplicaState.READY: 3}
"""When there are too many: first those that have cost the least."""


def plan_cluster(view: ClusterView, deadlines: Deadlines) -> list[Action]:
    """The actions that bring the cluster one step closer to what it wants."""
    actions: list[Action] = []

    # STEP 1: what does not boot in time has failed; what does not drain in time is cut off.
    overdue = {
        replica.id
        for replica in view.replicas
        if replica.state in (ReplicaState.STARTING, ReplicaState.LOADING) and replica.age_s > deadlines.boot_s
    }
    for replica in view.replicas:
        if replica.id in overdue:
            actions.append(Stop(replica.id, f"not ready after {deadlines.boot_s:.0f} s", failed=True))
        elif replica.state is ReplicaState.DRAINING and not replica.stopping:
            if replica.in_flight == 0:
                actions.append(Stop(replica.id, "drained"))
            elif view.at_once or (replica.age_s > deadlines.drain_s and not view.patient):
                actions.append(Stop(replica.id, f"stopped with {replica.requests} requests in flight"))

    live = [replica for replica in view.replicas if replica.state in LIVE and replica.id not in overdue]
    orphans = [replica for replica in live if replica.base_leaves]
    actions.extend(leave(replica, "the replica of its base leaves", at_once=view.at_once) for replica in orphans)
    live = [replica for replica in live if not replica.base_leaves]

    # STEP 2: too many: the cheapest to lose go first; among the ready the idlest, of those the newest. What is on a
    # node or device that is emptied goes as others have become ready in its place.
    leaving = [replica for replica in live if replica.empties]
    live = [replica for replica in live if not replica.empties]
    ready = sum(replica.state is ReplicaState.READY for replica in live)
    for group, kept in ((live, view.wanted), (leaving, view.wanted - ready)):
        surplus = sorted(group, key=lambda replica: (_GIVE_UP_ORDER[replica.state], replica.requests, replica.age_s))
        surplus = surplus[: len(group) - max(0, min(kept, len(group)))]
        actions.extend(
            leave(replica, replica.empties or "no longer needed", at_once=view.at_once)
            for replica in surplus
            if view.at_once or not replica.untold
        )

    # STEP 3: too few.
    failing = sum(replica.failing or replica.id in overdue for replica in view.replicas)
    missing = view.wanted - len(live) - failing
    if missing > 0 and not view.backing_off:
        actions.extend(Launch() for _ in range(missing))
    return actions


def leave(replica: ReplicaView, reason: str, *, at_once: bool) -> Drain | Stop:
    """How a live replica goes: what is ready finishes what it has, unless it is to end at once."""
    is_ready = replica.state is ReplicaState.READY
    return Drain(replica.id, reason) if is_ready and not at_once else Stop(replica.id, reason)
