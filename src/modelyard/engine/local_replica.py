"""One worker process, as the engine that runs it on this machine holds it. Starts nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.engine.deaths import count_oom_kills
from modelyard.engine.link import Link
from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.processes import kill_group


@dataclass(eq=False, slots=True)
class LocalReplica:
    """One worker process. `address`: where it takes connections. `reason`: why it ends, as whoever knew first put it.
    `exited`: its wait status, or None when its nursery died with it. `served`: it was ready once. `oom_kills`: the
    kernel's count of them when it was last seen alive."""

    spec: ReplicaSpec
    socket: Path
    threads: int
    owner: str = ""
    nice: int = 0
    pid: int | None = None
    address: str = ""
    link: Link | None = None
    reason: str | None = None
    served: bool = False
    oom_kills: int = field(default_factory=count_oom_kills)
    exited: asyncio.Future[int | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def note_reason(self, reason: str) -> None:
        """Notes why it ends, unless that is known already."""
        self.reason = self.reason or reason

    def signal(self, number: int) -> None:
        """Signals its process group."""
        if self.pid is not None and not self.exited.done():
            kill_group(self.pid, number)
