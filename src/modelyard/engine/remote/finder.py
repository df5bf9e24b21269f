"""Which nodes there are, and where the agent of each takes connections: the contract with whatever knows that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """The agent of a node: `host` and `port` where it takes connections of servers that show `secret`."""

    node: str
    host: str
    port: int
    secret: str


OnAgents = Callable[[Sequence[AgentAddress]], None]
"""Told of all there are by now, whenever that changes; no two with one node. On the event loop."""


class Finder(ABC):
    """Finds agents. All methods belong to one event loop's thread."""

    @abstractmethod
    async def start(self, on_agents: OnAgents) -> None:
        """Tells of the agents from now on; returns when it has told of those that there are now. Raises Unavailable."""

    @abstractmethod
    async def close(self) -> None:
        """Tells nothing more. The agents live on. Idempotent."""
