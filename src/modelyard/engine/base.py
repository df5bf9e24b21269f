"""The contract between the control plane and whatever runs replicas. Every implementation passes one test suite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from modelyard.engine.link import Link
from modelyard.records.replicas import ReplicaSpec


class Phase(StrEnum):
    """How far a replica has got, as the engine sees it."""

    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the engine knows of one replica.

    `link` is usable while READY. `memory_bytes` is what it holds, its model's weights in full and nothing of what all
    replicas share: told when the model has loaded, and again as requests touch more of it; `peak_bytes` is the most it
    has held, and `device_bytes` the most it has held on an accelerator, None when it uses none. `slots`: how many
    requests it takes at once. `reason`, when GONE: the worker's own last words, else how it ended.
    `refused`: the worker itself said that this model cannot be loaded; trying again would end the same way.
    `pid` and `pid_started` name its process where there is one on this machine.
    """

    replica_id: str
    phase: Phase
    link: Link | None = None
    memory_bytes: int | None = None
    peak_bytes: int | None = None
    device_bytes: int | None = None
    slots: int = 1
    reason: str | None = None
    refused: bool = False
    pid: int | None = None
    pid_started: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A machine replicas can run on. `memory_bytes`: what all its replicas together may hold."""

    name: str
    memory_bytes: int


class Engine(ABC):
    """Runs replicas. All methods belong to one event loop's thread."""

    @abstractmethod
    async def start(self) -> None:
        """Gets ready to launch. Returns before anything slow has finished."""

    @abstractmethod
    async def close(self) -> None:
        """Stops every replica and releases everything. Idempotent."""

    @property
    @abstractmethod
    def warm(self) -> bool:
        """Whether a launch is quick by now: what is slow and common to all models has been loaded."""

    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """The machines, at least one."""

    @abstractmethod
    def launch(self, spec: ReplicaSpec) -> None:
        """Begins to start a replica; what becomes of it is told by `sightings`.

        Launching an id again, or anything after `close`, does nothing.
        """

    @abstractmethod
    async def stop(self, replica_id: str, grace_s: float) -> None:
        """Ends a replica: asks, waits up to `grace_s`, then kills its whole process group. Returns when it is GONE.

        A replica that is GONE or was never launched: returns at once. One that has no process yet is GONE at once.
        """

    @abstractmethod
    def sightings(self) -> Mapping[str, Sighting]:
        """Every replica launched and not forgotten, by id."""

    @abstractmethod
    def forget(self, replica_id: str) -> None:
        """Drops a replica that is GONE from `sightings`."""

    @abstractmethod
    def watch(self, on_change: Callable[[], None]) -> None:
        """From now on calls `on_change` after every change of `sightings`."""

    @abstractmethod
    def end_strays(self, processes: Iterable[tuple[int, int]]) -> int:
        """Kills processes (pid, start ticks) left over from an earlier server; returns how many were still there.

        A pid that now belongs to another process is left alone.
        """
