"""Agents of nodes as processes of their own, whose workers echo, and a finder that a test tells which there are.

agents = Agents(tmp_path)
await agents.start("first", "second")
engine = RemoteEngine(agents.finder())
agents.signal("first", signal.SIGSTOP)
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelyard.config import load_settings, variable
from modelyard.engine.base import Device
from modelyard.engine.local import LocalEngine
from modelyard.engine.remote.finder import AgentAddress, Finder, OnAgents
from modelyard.engine.remote.program import run_agent, take_secret
from modelyard.tls import load_tls
from modelyard.units import GIB
from tests.engine.echo import ECHO
from tests.engine.exporter import EXPORTER
from tests.engine.workers import ROOT, echo_standby

HOST = "127.0.0.1"
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.engine import agents; agents.main()"


def main() -> None:
    """Entry of an agent: the folder of logs, how long it waits for a server that leads, how many requests its workers
    take at once, its node's name and address."""
    log_dir, unled_s, slots, name, host = sys.argv[1:]
    secret = take_secret()
    tls = load_tls(load_settings({}).settings)

    async def run() -> None:
        # Not confined: some workers start processes of their own.
        engine = LocalEngine(
            GIB,
            node=name,
            devices=(Device("cuda:0", GIB), Device("cuda:1", GIB)),
            log_dir=Path(log_dir),
            standby=echo_standby(int(slots)),
            exporter=EXPORTER,
            sandbox="off",
            host=host if tls is None else "",
            is_shared=tls is not None,
        )
        await run_agent(engine, host, secret, unled_s=float(unled_s), tls=tls)

    asyncio.run(run())


class ListFinder(Finder):
    """Tells of the agents that were found."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._on_agents: OnAgents | None = None

    async def start(self, on_agents: OnAgents) -> None:
        self._on_agents = on_agents
        self._found.finders.add(self)
        self.tell()

    async def close(self) -> None:
        self._on_agents = None
        self._found.finders.discard(self)

    def tell(self) -> None:
        """Tells of those that there are now."""
        if self._on_agents is not None:
            self._on_agents(list(self._found.addresses.values()))


class Found:
    """The agents that there are, for as many servers as want to know."""

    def __init__(self) -> None:
        self.addresses: dict[str, AgentAddress] = {}
        self.finders: set[ListFinder] = set()

    def finder(self) -> ListFinder:
        """For one more server."""
        return ListFinder(self)

    def take(self, agents: Sequence[AgentAddress]) -> None:
        """See OnAgents."""
        self.addresses = {agent.node: agent for agent in agents}
        self.tell()

    def tell(self) -> None:
        """Tells all servers."""
        for finder in self.finders:
            finder.tell()


class Agents(Found):
    """Some agents on this machine."""

    def __init__(
        self,
        folder: Path,
        unled_s: float = 3600,
        settings: Mapping[str, str] | None = None,
        slots: int = ECHO.max_batch,
    ) -> None:
        """`settings`: of the nodes, by name; those that tests look at are of TLS. `slots`: how many requests each of
        their workers takes at once."""
        super().__init__()
        self._folder = folder
        self._environ = {**os.environ, **{variable(name): value for name, value in (settings or {}).items()}}
        self._unled_s = unled_s
        self._slots = slots
        self.processes: dict[str, Process] = {}

    async def start(self, *names: str) -> None:
        """Starts the agents of nodes with these names, and tells of them."""
        self.addresses.update(zip(names, await asyncio.gather(*map(self._start, names)), strict=True))
        self.tell()

    async def _start(self, name: str) -> AgentAddress:
        secret = os.urandom(8).hex()
        words = (str(self._folder), str(self._unled_s), str(self._slots), name, HOST)
        command: Sequence[str] = (sys.executable, "-c", PROGRAM, *words)
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=self._environ)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{secret}\n".encode())
        self.processes[name] = process
        line = await process.stdout.readline()
        return AgentAddress(name, HOST, json.loads(line)["port"], secret)

    def signal(self, name: str, number: int) -> None:
        """Signals an agent."""
        self.processes[name].send_signal(number)

    async def kill(self, name: str) -> None:
        """kill -9 of an agent, of which nobody is told but by the connection."""
        self.signal(name, signal.SIGKILL)
        await self.processes[name].wait()

    def lose(self, name: str) -> None:
        """Nobody knows where it is any more."""
        del self.addresses[name]
        self.tell()

    async def close(self) -> None:
        """Ends all of them in order."""
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(*(process.wait() for process in self.processes.values()))
