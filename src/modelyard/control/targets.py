"""A replica as requests see it, and the process that it shares with adapters of its model. Owns the counts of its
slots; `routes` says who gets one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelyard.engine.link import ReplicaLink

if TYPE_CHECKING:
    from modelyard.control.routes import Route


@dataclass(eq=False, slots=True, weakref_slot=True)
class Process:
    """What a replica shares with the adapters of its model that run in its process. `in_flight`, `idle`: of all their
    routes, see Target; `alone`: one request has the process to itself; `was_ended`: the server ends it, for something
    that its requests need not have caused; `routes`: those that send requests there."""

    in_flight: int = 0
    idle: int = 0
    alone: bool = False
    was_ended: bool = False
    routes: dict[str, Route] = field(default_factory=dict)

    def is_open_to(self, route: Route) -> bool:
        """Whether a request of that route may go there: none has it to itself, or waits for that in another route."""
        if self.alone:
            return False
        return len(self.routes) <= 1 or not any(
            each.waiting_alone for each in self.routes.values() if each is not route
        )


@dataclass(eq=False, slots=True)
class Target:
    """A ready replica as requests see it. `slots`: how many it takes at once; `in_flight`: those that are held; `idle`:
    of these, those that another process keeps and has no request for; `process`: where it runs; `ready_at`: when it
    came; 0: not known here."""

    replica_id: str
    link: ReplicaLink
    slots: int
    in_flight: int = 0
    process: Process = field(default_factory=Process)
    ready_at: float = 0.0
    idle: int = 0

    @property
    def requests(self) -> int:
        """Its requests."""
        return self.in_flight - self.idle

    @property
    def alone(self) -> bool:
        """Whether one request has the process to itself."""
        return self.process.alone

    @property
    def was_ended(self) -> bool:
        """Whether the server ends it, for something that its requests need not have caused."""
        return self.process.was_ended

    def hold(self, *, alone: bool = False) -> None:
        """A request takes a slot; `alone`: the whole process."""
        self.in_flight += 1
        self.process.in_flight += 1
        self.process.alone = alone

    def let_go(self) -> None:
        """A request gives its slot back."""
        self.in_flight -= 1
        self.process.in_flight -= 1
        self.process.alone = False

    def note_idle(self, more: int) -> None:
        """So many more of its slots are kept without a request than before."""
        self.idle += more
        self.process.idle += more
