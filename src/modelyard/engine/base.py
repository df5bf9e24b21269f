"""The contract between the control plane and whatever runs replicas. Every implementation passes one test suite."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from modelyard.engine.link import ReplicaLink
from modelyard.engine.sightings import Sightings
from modelyard.errors import UnknownNode
from modelyard.records.models import ModelCard, OnProgress
from modelyard.records.replicas import ReplicaSpec
from modelyard.records.variants import ExportOrder
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES

Fetch = Callable[[ModelCard, OnProgress, str], Awaitable[Path]]
"""Gets a model's files to where they are needed, unless they are there, for an account, by its id; their folder. Raises
ModelRefused, DownloadFailed, QuotaExceeded."""
OnStep = Callable[[str], None]
"""Told, in a sentence, what is being done; must be quick and must not raise."""
UNLED_S = 60.0
"""Replicas that outlive servers end by themselves when no server has led for so long: far longer than it takes until
another one does, and short beside what they would hold for nobody."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a replica takes up: memory of its node, and of accelerators there (0: it needs none). `splits`: it may lie
    on several of them, in equal parts; else on one."""

    memory_bytes: int
    device_bytes: int = 0
    splits: bool = False

    @property
    def total_bytes(self) -> int:
        """All of it, wherever it lies."""
        return self.memory_bytes + self.device_bytes

    def share_bytes(self, count: int) -> int:
        """What it takes of each of so many devices: an equal part, and what the driver holds for it on each."""
        if count < 2:
            return self.device_bytes
        return -(-max(0, self.device_bytes - DEVICE_CONTEXT_BYTES) // count) + DEVICE_CONTEXT_BYTES


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator. `name`: as the model libraries call it, such as cuda:0. `memory_bytes`: what replicas may hold
    of it together. `uuid`: by which its driver knows it; empty: no driver was asked. `accepting`: it takes new
    replicas; those that one has which does not are to move to others."""

    name: str
    memory_bytes: int
    uuid: str = ""
    accepting: bool = True

    @property
    def visible_as(self) -> str:
        """What CUDA_VISIBLE_DEVICES calls it."""
        return self.uuid or self.name.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Node:
    """A machine replicas can run on. `memory_bytes`: what all its replicas together may hold, accelerators aside.

    `accepting`: it takes new replicas; one that does not keeps those it has until they end. `cores`: processor cores
    that replicas share; None where nobody knows. `emptied`: it accepts none, and those it has are to move to others.
    """

    name: str
    memory_bytes: int
    devices: tuple[Device, ...] = ()
    accepting: bool = True
    cores: int | None = None
    emptied: bool = False

    def taking(self, accepting: bool, device: str | None = None) -> Node:
        """The same node once it, or only that device of it, takes new replicas or is emptied. Raises UnknownNode for a
        device that it does not have."""
        if device is None:
            return replace(self, accepting=accepting, emptied=not accepting)
        names = [each.name for each in self.devices]
        if device not in names:
            there = ", ".join(names) or "none"
            raise UnknownNode(f"{self.name} has no device {device}; it has: {there}.", node=self.name)
        changed = [replace(each, accepting=accepting) if each.name == device else each for each in self.devices]
        return replace(self, devices=tuple(changed))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica runs: a node, and the accelerators there, by name, on which memory is reserved for it: on several
    in equal parts. None of them: it is computed by the processor, unless nobody knows what accelerators the node
    has."""

    node: str
    devices: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Place, ...]:
        """The node alone, then each of the devices alone."""
        return (Place(self.node), *(Place(self.node, (device,)) for device in self.devices))


@dataclass(frozen=True, slots=True)
class Stray:
    """A worker process that an earlier server started. `started`: in clock ticks since the node's boot, which with the
    pid names a process for good."""

    node: str
    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class ReplicaLog:
    """The end of one replica's output. `name`: of the file, by which logs sort in order of time."""

    name: str
    text: str


class Phase(StrEnum):
    """How far a replica has got, as the engine sees it."""

    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a replica is, as any process can be told.

    `place`: where it was launched; None when the engine does not know it.
    `memory_bytes` is what it holds, its model's weights in full and nothing of what all replicas share: told when the
    model has loaded, and again as requests touch more of it; `peak_bytes` is the most it has held, and `device_bytes`
    the most it has held on an accelerator, None when it uses none. `slots`: how many requests it takes at once.
    `joins`: it begins one while others run, else it runs what has come together from its beginning to its end.
    `reason`, when GONE: the worker's own last words, else how it ended.
    `refused`: the worker itself said that this model cannot be loaded; trying again would end the same way.
    `host_died`: its node is not there, or the process died that had started it: this says nothing of its model.
    `pid` and `pid_started` name its process where there is one on this machine. `address`: where it takes connections
    of whoever shows its secret, see `open_connection`; None while it has no process.
    """

    replica_id: str
    phase: Phase
    place: Place | None = None
    memory_bytes: int | None = None
    peak_bytes: int | None = None
    device_bytes: int | None = None
    slots: int = 1
    joins: bool = False
    reason: str | None = None
    refused: bool = False
    host_died: bool = False
    pid: int | None = None
    pid_started: int | None = None
    address: str | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self.phase is Phase.GONE


@dataclass(frozen=True, slots=True)
class Sighting(Condition):
    """What the engine knows of one replica. `link` is usable while READY. `spec`: what it was launched with, where an
    earlier server did that; else None. `silent_s`: when its node was lost, for how long that had given no sign of life:
    nobody knows that the replica lived since."""

    link: ReplicaLink | None = None
    spec: ReplicaSpec | None = None
    silent_s: float = 0.0

    @classmethod
    def of(cls, condition: Condition, *, link: ReplicaLink | None = None, spec: ReplicaSpec | None = None) -> Sighting:
        """One of what a process was told."""
        told = {each.name: getattr(condition, each.name) for each in fields(Condition)}
        return cls(**told, link=link, spec=spec)

    @property
    def condition(self) -> Condition:
        """What of it other processes can be told."""
        return Condition(*(getattr(self, each.name) for each in fields(Condition)))


class Engine(ABC):
    """Runs replicas. All methods belong to one event loop's thread."""

    outlives_servers: ClassVar[bool] = False
    """Whether replicas live on when the server that launched them ends, however it ends. Then several servers may have
    such an engine on the same nodes, one of which leads at a time; else there is one, whose replicas end with it."""

    @abstractmethod
    async def start(self) -> None:
        """Gets ready to launch. Returns before anything slow has finished."""

    @abstractmethod
    async def lead(self, token: int) -> None:
        """From now on this server launches and stops replicas, with a token that is higher for each server that leads.

        When it returns, whatever runs replicas refuses what comes with a lower token, and `sightings` has every replica
        that lives, whoever has launched it, adapters among them, each with its `spec`. Before it, an engine whose
        replicas outlive servers shows and launches none. Raises LeaseLost when a higher token is known. Where replicas
        belong to their server it does nothing.
        """

    @abstractmethod
    async def close(self) -> None:
        """Stops every replica and releases everything. Idempotent. Replicas that outlive servers live on: until another
        one leads, or UNLED_S have passed."""

    @property
    @abstractmethod
    def warm(self) -> bool:
        """Whether a launch is quick by now: what is slow and common to all models has been loaded."""

    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """The machines there are now, each with a name of its own; they may come and go, which `watch` tells.

        The replicas of one that is gone are GONE.
        """

    async def take_launches(self, node: str, accepting: bool, device: str | None = None) -> None:
        """Has a node, or one device of it, take new replicas, or be emptied from now on, which `nodes` tells soon;
        those that it runs go on until they are asked to end. Raises UnknownNode, of a device too."""
        raise UnknownNode(f"There is no node {node} that this engine can have emptied.", node=node)

    @abstractmethod
    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        """Begins to start a replica there; what becomes of it is told by `sightings`.

        `spec.device` is set by the place when that names any; the worker then sees those accelerators alone, and none
        besides. `spec.log_path` is taken to be in the node's folder of
        logs. Launching an id again, or anything after `close`, does nothing. A replica whose node is gone is GONE at
        once; one that is refused since another server leads is GONE with `host_died`.

        With `spec.beside` it is an adapter, which runs in the process of that replica of its base, at the same place,
        beside what else runs there: it has a link, phases and an end of its own, and ends with that replica. Where that
        is not there, it is GONE at once.
        """

    @abstractmethod
    async def stop(self, replica_id: str, grace_s: float) -> None:
        """Ends a replica: asks, waits up to `grace_s`, then kills its whole process group. Returns when it is GONE.

        With a grace of 0 it is not asked.

        A replica that is GONE or was never launched: returns at once. One that has no process yet is GONE at once.
        Raises LeaseLost, having ended nothing, when another server leads.
        """

    @abstractmethod
    def sightings(self) -> Sightings:
        """Every replica launched and not forgotten, by id."""

    @abstractmethod
    def forget(self, replica_id: str) -> None:
        """Drops a replica that is GONE from `sightings`."""

    @abstractmethod
    def watch(self, on_change: Callable[[], None]) -> None:
        """From now on calls `on_change` after every change of `sightings` or `nodes`."""

    @abstractmethod
    def end_strays(self, strays: Iterable[Stray]) -> int:
        """Kills processes left over from an earlier server; returns how many were still there.

        A pid that now belongs to another process is left alone, and so is what ran on a node that is not there.
        """

    # --- what is local to a node ---

    @abstractmethod
    async def prepare(self, card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        """Gets a model's files to where launches find them; their folder, as `ReplicaSpec.path` names it.

        `account_id`: for whom, if they must be downloaded. An engine of many nodes may copy them to a node only as a
        part of the first launch there. Cancelling stops waiting. Raises ModelRefused, DownloadFailed, QuotaExceeded.
        """

    @abstractmethod
    def nodes_with(self, card: ModelCard) -> Collection[str]:
        """The nodes that have the model's files, so that a launch there is quick. Answers from memory, at once."""

    @abstractmethod
    async def read_logs(self, folder: str, count: int) -> Sequence[ReplicaLog]:
        """The ends of the newest `count` logs in a folder, newest first, whichever nodes they are on.

        `folder`: a path below the engine's folder of logs.
        """

    @abstractmethod
    async def export(self, order: ExportOrder, place: Place, on_step: OnStep) -> dict[str, Any]:
        """Makes a variant of a model there; the facts found out about it.

        `order.path` is as `prepare` returned it, and `order.target` a folder that this process can read afterwards.
        The engine sets `order.threads`. Cancelling ends the work; it leaves no half variant. Raises ModelRefused with
        the reason.
        """
