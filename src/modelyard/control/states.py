"""The states of a replica, the moves between them, and the one word clients see for a cluster. Pure."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class ReplicaState(StrEnum):
    """One replica's life. QUEUED waits for memory or files; DRAINING finishes what it has and takes nothing new."""

    QUEUED = "queued"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


S = ReplicaState
TRANSITIONS: dict[ReplicaState, frozenset[ReplicaState]] = {
    S.QUEUED: frozenset({S.STARTING, S.STOPPED, S.FAILED}),
    S.STARTING: frozenset({S.LOADING, S.READY, S.DRAINING, S.STOPPED, S.FAILED}),
    S.LOADING: frozenset({S.READY, S.DRAINING, S.STOPPED, S.FAILED}),
    S.READY: frozenset({S.DRAINING, S.STOPPED, S.FAILED}),
    S.DRAINING: frozenset({S.STOPPED, S.FAILED}),
    S.STOPPED: frozenset(),
    S.FAILED: frozenset(),
}
LIVE = frozenset({S.QUEUED, S.STARTING, S.LOADING, S.READY})
"""States that count towards the replicas a cluster wants."""
HOLDS_MEMORY = frozenset({S.STARTING, S.LOADING, S.READY, S.DRAINING})
"""States in which the engine knows of it."""


class IllegalMove(Exception):
    """A replica was asked to go where TRANSITIONS has no way; a bug."""


def check_move(old: ReplicaState, new: ReplicaState) -> None:
    """Raises IllegalMove unless `old` → `new` is a move. Staying is none."""
    if new not in TRANSITIONS[old]:
        raise IllegalMove(f"{old} → {new}")


class ClusterStatus(StrEnum):
    """The words of the wire contract."""

    QUEUED = "queued"
    DOWNLOADING = "downloading"
    BOOTING = "booting instance"
    LOADING = "loading"
    RUNNING = "running"
    SCALING = "scaling"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


def cluster_status(
    replicas: Collection[ReplicaState], wanted: int, *, downloading: bool = False, failed: bool = False
) -> ClusterStatus:
    """A cluster's status from its replicas' states and how many it wants."""
    ready = sum(state is S.READY for state in replicas)
    leaving = any(state is S.DRAINING for state in replicas)
    if failed:
        return ClusterStatus.FAILED
    if wanted == 0 and not ready:
        return ClusterStatus.STOPPING if leaving else ClusterStatus.STOPPED
    if wanted == 0:
        return ClusterStatus.STOPPING
    if ready:
        return ClusterStatus.RUNNING if ready == wanted and not leaving else ClusterStatus.SCALING
    if S.LOADING in replicas:
        return ClusterStatus.LOADING
    if S.STARTING in replicas:
        return ClusterStatus.BOOTING
    return ClusterStatus.DOWNLOADING if downloading else ClusterStatus.QUEUED
