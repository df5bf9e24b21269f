"""One replica and one cluster as the reconciler holds them. Owns the moves between states; no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from modelyard.control.autoscaler import wanted_replicas
from modelyard.control.plan import ClusterView, ReplicaView
from modelyard.control.routes import Route
from modelyard.control.states import LIVE, ClusterStatus, ReplicaState, check_move, cluster_status
from modelyard.engine.link import Link
from modelyard.errors import ModelyardError
from modelyard.types import Capacity, Cluster


@dataclass(eq=False, slots=True)
class Replica:
    """One replica. `since`: monotonic time its state began (STARTING and LOADING share one). `reserved_bytes` counts
    against the node from STARTING to the end. `stopping`: its end was asked for, with this reason."""

    id: str
    since: float
    state: ReplicaState = ReplicaState.QUEUED
    reserved_bytes: int = 0
    link: Link | None = None
    slots: int = 1
    stopping: str | None = None
    counts_as_failure: bool = False

    def move(self, state: ReplicaState, now: float) -> None:
        """Changes state. Raises IllegalMove."""
        check_move(self.state, state)
        if state is not ReplicaState.LOADING:
            self.since = now
        self.state = state


@dataclass(eq=False, slots=True)
class Supervised:
    """One cluster: what is wanted of it, its replicas, and its recent past.

    `floor`: replicas kept without load: `desired` while in use, `min` once idled out or evicted (`resting`).
    `needed`: (monotonic time, replicas the load called for) over the stable window.
    `failed_boots`: since the last success. `crashes`: monotonic times of deaths. `failure`: why it was given up, at
    `failed_at`. `ready_at`: when a replica last became ready. `removed`: being deleted.
    """

    cluster: Cluster
    route: Route
    floor: int
    replicas: dict[str, Replica] = field(default_factory=dict)
    needed: deque[tuple[float, int]] = field(default_factory=deque)
    resting: bool = False
    wanted: int = 0
    slots: int = 1
    failed_boots: int = 0
    crashes: list[float] = field(default_factory=list)
    retry_at: float = 0.0
    failure: ModelyardError | None = None
    failed_at: float = 0.0
    ready_at: float = 0.0
    waiting_for: str | None = None
    removed: bool = False

    @property
    def off(self) -> bool:
        """Whether nothing may run."""
        return self.removed or not self.cluster.enabled

    def bounds(self) -> Capacity:
        """The capacity in force at this moment."""
        return Capacity(0, 0, 0) if self.off or self.failure is not None else self.cluster.capacity

    def states(self) -> list[ReplicaState]:
        """Every replica's state."""
        return [replica.state for replica in self.replicas.values()]

    def live(self) -> int:
        """Replicas that count towards the wanted number."""
        return sum(replica.state in LIVE for replica in self.replicas.values())

    def idle_s(self, now: float) -> float | None:
        """Seconds since it last had anything to do; None while it has, or while nothing is ready yet."""
        if self.route.load().total or ReplicaState.READY not in self.states():
            return None
        return now - max(self.route.last_activity, self.ready_at)

    def aim(self, now: float, target: int, window_s: float) -> int:
        """Updates and returns `wanted` for the load of this moment, at `target` requests per replica."""
        self.needed.append((now, -(-self.route.load().total // target)))
        while self.needed[0][0] < now - window_s:
            self.needed.popleft()
        self.wanted = wanted_replicas(self.bounds(), self.floor, (count for _, count in self.needed))
        return self.wanted

    def wake(self) -> None:
        """Back in use: start with `desired` again, and let bygone failures be bygone."""
        self.floor = self.cluster.capacity.desired
        self.resting = False
        self.failure = None
        self.failed_boots = 0
        self.crashes.clear()
        self.retry_at = 0.0

    def rest(self) -> None:
        """Out of use: keep `min` only, from now on."""
        self.floor = self.cluster.capacity.min
        self.resting = True
        self.needed.clear()

    def view(self, now: float) -> ClusterView:
        """What `plan_cluster` looks at."""
        return ClusterView(
            wanted=self.wanted,
            replicas=tuple(
                ReplicaView(
                    replica.id, replica.state, self.route.in_flight(replica.id), age_s=now - replica.since
                )
                for replica in self.replicas.values()
            ),
            backing_off=now < self.retry_at,
            at_once=self.off,
        )

    def status(self, *, downloading: bool) -> ClusterStatus:
        """The word clients see."""
        return cluster_status(self.states(), self.wanted, downloading=downloading, failed=self.failure is not None)
