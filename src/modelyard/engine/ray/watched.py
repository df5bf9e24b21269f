"""One node of a Ray cluster as a server sees it: whether its actor has answered, and why its agent is not used. Imports
no Ray."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass

from modelyard import __version__
from modelyard.engine.remote.finder import AgentAddress

log = logging.getLogger(__name__)

ASK_EVERY_S = 1.0
"""How often an actor is asked whether it is there: its agent's end is seen by the connection to it, at once."""
SILENT_S = 60.0
"""An actor that has not answered for so long is waited for no longer: Ray starts it, and its agent imports the model
libraries, within seconds, on a busy machine within half a minute."""
AGAIN_AFTER_S = 1.0
AGAIN_AFTER_MAX_S = 30.0


class ActorFailed(Exception):
    """Ray could not make the actor, or it has died. The message is Ray's."""


class Actor(ABC):
    """The actor of one node. No call blocks for more than some milliseconds."""

    @abstractmethod
    def ask(self) -> None:
        """Has it describe itself; makes it where there is none. Raises ActorFailed."""

    @abstractmethod
    def answer(self) -> tuple[str, AgentAddress] | None:
        """Its version of this package, and its agent; None: it has not answered yet. Raises ActorFailed."""

    @abstractmethod
    def forget(self) -> None:
        """It is looked for, or made, anew when it is asked the next time."""


@dataclass(eq=False)
class Watched:
    """A node and what is known of its actor. `agent`: None as long as there is none that can be used. `problem`: why
    not; None before it has been asked. `asked_at`: of a question that is not answered yet."""

    name: str
    actor: Actor
    agent: AgentAddress | None = None
    problem: str | None = None
    asked_at: float | None = None
    not_before: float = 0.0
    failures: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether its actor has answered, or failed to, once."""
        return self.agent is not None or self.problem is not None

    def look(self, now: float) -> None:
        """Goes on: asks the actor, takes its answer. `now`: seconds of a clock that is never set."""
        try:
            if self.asked_at is not None:
                self._listen(now, self.asked_at)
            elif now >= self.not_before:
                self.actor.ask()
                self.asked_at = now
        except ActorFailed as error:
            self._fail(now, str(error))

    def _listen(self, now: float, asked_at: float) -> None:
        described = self.actor.answer()
        if described is None:
            if now - asked_at >= SILENT_S:
                self._fail(now, f"nothing has come for {SILENT_S:g} s; /tmp/ray/session_latest/logs there may say why")
            return
        version, agent = described
        self.asked_at, self.failures, self.not_before = None, 0, now + ASK_EVERY_S
        if version == __version__:
            if agent != self.agent:
                log.info("node %s of the Ray cluster: its agent is there", self.name)
            self.agent, self.problem = agent, None
        else:
            same = "install the same on both, then end Ray there and start it anew"
            self._refuse(f"it has version {version} of Modelyard, this server has {__version__}; {same}")

    def _fail(self, now: float, reason: str) -> None:
        self.actor.forget()
        self.asked_at = None
        self.not_before = now + min(AGAIN_AFTER_MAX_S, AGAIN_AFTER_S * 2**self.failures)
        self.failures = min(self.failures + 1, 10)
        self._refuse(reason)

    def _refuse(self, problem: str) -> None:
        """Told once, not each time that it is asked."""
        if problem != self.problem:
            log.warning("node %s of the Ray cluster is not used: %s", self.name, problem)
        self.agent, self.problem = None, problem
