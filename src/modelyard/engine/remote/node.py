"""One node as a server sees it: the connection to its agent, which is made anew when it breaks, and calls over it.

Decides when the node is lost. Knows replicas as the agent tells of them, and keeps none.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from modelyard.engine.base import Node, OnStep
from modelyard.engine.remote.finder import AgentAddress
from modelyard.engine.remote.messages import (
    LINE_BYTES,
    Alive,
    AllSeen,
    Answer,
    Ask,
    Cancel,
    Facts,
    Greet,
    Seen,
    Step,
    ToAgent,
    ToServer,
    read_news,
    to_line,
)
from modelyard.errors import ReplicaLost
from modelyard.tls import FILES, SAME_FILES, LinkTls, explain

log = logging.getLogger(__name__)

ASK_EVERY_S = 0.5
MOST_SILENCE = 5
"""A node is lost when its agent has said nothing for so many times ASK_EVERY_S. They are counted, not read off a clock:
a server that was busy for a while takes a node for lost only after it has had the time to listen as often."""
CONNECT_AGAIN_S = 0.1
CONNECT_S = 1.0


class Listener(Protocol):
    """Who is told what becomes of nodes. Loop thread only."""

    def node_found(self, node: RemoteNode) -> None:
        """It is there, anew, and has told of all its replicas."""

    def node_changed(self, node: RemoteNode) -> None:
        """What it has is other than it was."""

    def node_lost(self, node: RemoteNode, reason: str) -> None:
        """It is not there any more: its replicas are gone, or will be ended when it is there again."""

    def node_sees(self, node: RemoteNode, seen: Seen) -> None:
        """One of its replicas is new, or other than it was."""


@dataclass(eq=False, slots=True)
class Call:
    """One that waits for its answer."""

    answer: asyncio.Future[Answer]
    on_step: OnStep | None = None


class RemoteNode:
    """One agent, whose replies go to a Listener. Loop thread only."""

    def __init__(self, agent: AgentAddress, listener: Listener, tls: LinkTls | None = None) -> None:
        self.agent = agent
        self.name = agent.node
        self.facts: Facts | None = None
        """What it has; None while it is not there."""
        self._told_facts: Facts | None = None
        self._listener = listener
        self._tls = tls
        self._writer: asyncio.StreamWriter | None = None
        self._unsent: list[bytes] = []
        self._numbers = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._silent = 0
        self._heard_at = time.monotonic()
        self._unused = ""
        """Why it is not used, as was logged last; empty while it is."""
        self._task: asyncio.Task[None] | None = None
        self.heard_of: set[str] = set()
        """The replicas it has told of since the connection was made."""
        self.told = asyncio.Event()
        """Set while it is there and has told of all its replicas."""
        self.is_lost = False
        """Whether the last attempt to reach it was in vain: nobody waits for it."""

    def start(self) -> None:
        """Connects, soon, and stays connected."""
        self._task = asyncio.create_task(self._run_forever(), name=f"node {self.name}")

    async def close(self, reason: str = "") -> None:
        """Leaves it. `reason`: it is gone for good, and its replicas with it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if reason:
            self._lose(reason)

    def describe(self) -> Node | None:
        """The node; None while it is not there."""
        facts = self.facts
        if facts is None:
            return None
        accepting = facts.accepting
        return Node(self.name, facts.memory_bytes, tuple(facts.devices), accepting, facts.cores, emptied=not accepting)

    @property
    def silent_s(self) -> float:
        """For how long it has given no sign of life."""
        return time.monotonic() - self._heard_at

    def send(self, message: ToAgent) -> None:
        """Sends a message soon; while the connection is made anew it waits for that, and is lost with the node."""
        self._send_line(to_line(message))

    def _send_line(self, line: bytes) -> None:
        if self._writer is None or self._writer.is_closing():
            self._unsent.append(line)
        else:
            self._writer.write(line)

    async def call(self, make: Callable[[int], ToAgent], on_step: OnStep | None = None) -> Answer:
        """Sends what `make` makes of the number of a call; the answer. Cancelling tells the agent. Raises what the
        agent says, ReplicaLost when the connection ends before it has answered; what was not sent by then never is."""
        number = next(self._numbers)
        line = to_line(make(number))
        call = self._calls[number] = Call(asyncio.get_running_loop().create_future(), on_step)
        try:
            if self.facts is None:
                raise ReplicaLost(f"There is no node {self.name}.")
            self._send_line(line)
            answer = await call.answer
        except asyncio.CancelledError:
            self.send(Cancel(number))
            raise
        finally:
            del self._calls[number]
            if line in self._unsent:
                self._unsent.remove(line)
        if answer.failed is not None:
            raise answer.failed.error()
        return answer

    # --- the connection ---

    async def _run_forever(self) -> None:
        while True:
            try:
                end = await self._run_once()
            except Exception:  # a bug must not lose the node for good
                log.exception("an error in what node %s has told", self.name)
                end = BROKE
            self._end_calls(end)
            if self.facts is None and end != self._unused:
                self._unused = end
                log.warning("node %s is not used: it %s", self.name, end)
            if self.facts is None or not self._may_be_back(end):
                self._lose(f"node {self.name} {end}")
            await asyncio.sleep(CONNECT_AGAIN_S)

    def _may_be_back(self, end: str) -> bool:
        """Whether the node may be there all the same, after a connection that has ended."""
        return self._silent < MOST_SILENCE and end == BROKE

    async def _run_once(self) -> str:
        """One connection; how it ended."""
        try:
            async with asyncio.timeout(CONNECT_S):
                connects = None if self._tls is None else self._tls.connects
                reader, writer = await asyncio.open_connection(
                    self.agent.host, self.agent.port, limit=LINE_BYTES, ssl=connects
                )
        except TimeoutError:
            self._silent += int(CONNECT_S / ASK_EVERY_S)
            if self.facts is None:
                return UNANSWERED if self._tls is None else f"{UNANSWERED}: {SAME_FILES}"
            return BROKE if self._silent < MOST_SILENCE else SILENT
        except OSError as error:
            return f"takes no connection: {explain(error)}"
        asking: asyncio.Task[None] | None = None
        fault = ""
        self.heard_of.clear()
        try:
            writer.write(to_line(Greet(self.agent.secret)))
            asking = asyncio.create_task(self._ask_forever(writer), name=f"signs of life of {self.name}")
            async for news in read_news(reader):
                self._silent, self._heard_at = 0, time.monotonic()
                self._take(news, writer)
        except (OSError, ValueError) as error:
            fault = explain(error) if isinstance(error, OSError) else str(error)
        finally:
            self._writer = None
            self.told.clear()
            if asking is not None:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            writer.transport.abort()
        if self._silent >= MOST_SILENCE:
            return SILENT
        if self.facts is None:
            return UNGREETED
        if fault:
            log.warning("the connection to the agent of node %s broke: %s", self.name, fault)
        return BROKE

    async def _ask_forever(self, writer: asyncio.StreamWriter) -> None:
        while self._silent < MOST_SILENCE:
            writer.write(to_line(Ask()))
            await asyncio.sleep(ASK_EVERY_S)
            self._silent += 1
        writer.transport.abort()

    def _take(self, news: ToServer, writer: asyncio.StreamWriter) -> None:
        match news:
            case Alive():
                return
            case Facts():
                self._told_facts = news
                if self.told.is_set():
                    self._note_facts()
            case Seen(condition):
                self.heard_of.add(condition.replica_id)
                self._listener.node_sees(self, news)
            case AllSeen():
                self._writer = writer
                for line in self._unsent:
                    writer.write(line)
                self._unsent.clear()
                self.told.set()
                self._note_facts()
                self._listener.node_found(self)
            case Step(number, words):
                if (call := self._calls.get(number)) is not None and call.on_step is not None:
                    call.on_step(words)
            case Answer(number):
                if (call := self._calls.get(number)) is not None and not call.answer.done():
                    call.answer.set_result(news)

    def _note_facts(self) -> None:
        self.facts, self._unused, self.is_lost = self._told_facts, "", False
        self._listener.node_changed(self)

    def _end_calls(self, end: str) -> None:
        """What the agent had not answered it will not answer on another connection."""
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_exception(ReplicaLost(f"Node {self.name} {end}."))
                with suppress(ReplicaLost):  # seen, should nobody wait by then
                    call.answer.exception()

    def _lose(self, reason: str) -> None:
        self._silent, self.is_lost = 0, True
        self._unsent.clear()
        if self.facts is not None:
            log.warning("%s", reason)
            self.facts = None
            self._listener.node_lost(self, reason)


BROKE = "has broken off the connection"
UNANSWERED = f"takes no connection within {CONNECT_S:g} s"
UNGREETED = (
    f"has broken off the connection before it said anything: {FILES[0]}, {FILES[1]} and {FILES[2]} are to be set on "
    "both machines or on neither, and its log may say more"
)
SILENT = f"has given no sign of life for {MOST_SILENCE * ASK_EVERY_S:g} s"
