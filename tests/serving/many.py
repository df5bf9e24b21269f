"""Several servers on one PostgreSQL, each a process with its gateways, on nodes that are agents whose workers echo.

many = Many(folder, postgresql_url)
await many.start_nodes("first", "second")
one, other = many.server(), many.server()      # processes; `up` returns when they answer
await many.close()
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil
import psycopg

from modelyard.config import load_settings, variable
from modelyard.engine.base import Engine, Fetch
from modelyard.engine.remote.engine import RemoteEngine
from modelyard.engine.remote.finder import AgentAddress, Finder, OnAgents
from modelyard.serving.from_settings import open_engine
from modelyard.serving.server import serve
from modelyard.tls import load_tls
from tests.catalog.models import model, write
from tests.engine.agents import Agents
from tests.engine.echo import ECHO
from tests.processes import Processes, living
from tests.serving import KEY, REQUEST_S, family_of, free_port, is_alive, wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.serving import many; many.main()"
MODEL = "tests/echo"
TERMS = {
    "MODELYARD_BILLING_COUNTS": "life", "MODELYARD_BILLING_MINIMUM_S": "0", "MODELYARD_BILLING_ROUND_S": "0",
    "MODELYARD_RATE_LIMIT": "0",
}  # fmt: skip
"""What is billed is what replicas lived, and nobody's requests are limited."""
LOOK_S = 0.05


def main() -> None:
    """Entry of a server: the file that lists the agents, none where Ray knows them; its settings come by variables."""

    def make_engine(settings: Any, fetch: Fetch) -> Engine:
        if len(sys.argv) == 1:
            return open_engine(settings, fetch)
        return RemoteEngine(FileFinder(Path(sys.argv[1])), fetch=fetch, tls=load_tls(settings))

    serve(load_settings({}).settings, lambda started: print(started.url, flush=True), make_engine=make_engine)


class FileFinder(Finder):
    """Finds the agents that a file lists."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._task: asyncio.Task[None] | None = None

    async def start(self, on_agents: OnAgents) -> None:
        on_agents(read_agents(self._path))
        self._task = asyncio.create_task(self._look(on_agents))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self, on_agents: OnAgents) -> None:
        known = self._path.stat().st_mtime_ns
        while True:
            await asyncio.sleep(LOOK_S)
            if (now := self._path.stat().st_mtime_ns) != known:
                known = now
                on_agents(read_agents(self._path))


def read_agents(path: Path) -> list[AgentAddress]:
    return [AgentAddress(*each) for each in json.loads(path.read_text())]


class OneServer:
    """A server's processes, and a client of it."""

    def __init__(self, many: Many, number: int) -> None:
        self.number = number
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = many.folder / f"server-{number}.log"
        self.client = httpx.Client(base_url=self.url, headers={"authorization": KEY}, timeout=REQUEST_S)
        self.is_up = False
        self.starts = 0
        self.killed_at: dict[int, float] = {}
        """By its start, counted, by the monotonic clock."""
        self._many = many
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, or starts it again."""
        environ = {
            **os.environ,
            "MODELYARD_ADMIN_KEY": KEY,
            "MODELYARD_PORT": str(self.port),
            "MODELYARD_DATA_DIR": str(self._many.folder / f"data-{self.number}"),
            "MODELYARD_MODELS_DIR": str(self._many.folder / "models"),
            "MODELYARD_DATABASE_URL": self._many.database_url,
            "MODELYARD_ENGINE": "ray",
            "MODELYARD_HUB": "false",
            **TERMS,
            **self._many.environ,
        }
        command = [sys.executable, "-c", PROGRAM, *self._many.arguments]
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)

    def up(self) -> OneServer:
        """Returns when it answers."""
        wait_until(self.answers, every_s=0.1)
        self.is_up = True
        return self

    def answers(self) -> bool:
        """Whether it does; fails when it has ended."""
        assert self.is_running, self.log.read_text()
        try:
            return self.client.get("/health").status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int, *, whole: bool = True) -> None:
        """Signals it; `whole`: its gateways too, as when its machine stops."""
        for each in [self.process, *(family_of(self.process) if whole else [])]:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)

    def kill(self) -> None:
        """kill -9: the kernel ends its gateways with it. It is not up any more before anything of it has ended."""
        gateways = family_of(self.process)
        assert self._process is not None
        self.is_up = False
        self.killed_at[self.starts] = time.monotonic()
        self._process.kill()
        self._process.wait()
        wait_until(lambda: not any(map(is_alive, gateways)))

    def end(self) -> int:
        """Ends it in order; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(120)

    def run(self, text: str, **more: Any) -> httpx.Response:
        """Runs the model."""
        return self.client.post(f"/models/v2/{MODEL}", json={"text": text, **more})

    def under_way(self) -> tuple[int, int, int]:
        """Inferences that were admitted, that are on replicas, and that wait for one, as it tells."""
        told = self.client.get("/health").json()
        return told["underWay"], told["inFlight"], told["queued"]

    def close(self) -> None:
        self.client.close()
        if self.is_running:
            self.signal(signal.SIGCONT)
            self.kill()


class Many:
    """All of them."""

    process = None
    """Whose memory is looked at: nobody's."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        certificate: Mapping[str, str] = MappingProxyType({}),
        slots: int = ECHO.max_batch,
    ) -> None:
        """`certificate`: the settings of TLS between machines, of servers and nodes; without them nothing is
        encrypted. `slots`: how many requests each worker takes at once."""
        self.folder = folder
        self.database_url = database_url
        self.nodes_file = folder / "nodes.json"
        self.nodes_file.write_text("[]")
        self.arguments = [str(self.nodes_file)]
        """Of servers' programs."""
        self.environ = {variable(name): value for name, value in certificate.items()}
        """What servers are told besides."""
        (folder / "logs").mkdir()
        self.agents = Agents(folder / "logs", settings=certificate, slots=slots)
        self.servers: list[OneServer] = []
        write(folder / "models" / MODEL, model())

    @property
    def nodes(self) -> list[str]:
        """The names of those that can be killed."""
        return [*self.agents.addresses]

    async def start_nodes(self, *names: str) -> None:
        """Starts nodes of these names, or starts them again."""
        await self.agents.start(*names)
        self._write_nodes()

    async def kill_node(self, name: str) -> None:
        """kill -9 of a node's agent, with which its replicas end."""
        await self.agents.kill(name)
        self.agents.lose(name)
        self._write_nodes()

    def _write_nodes(self) -> None:
        found = [(each.node, each.host, each.port, each.secret) for each in self.agents.addresses.values()]
        part = self.nodes_file.with_suffix(".part")
        part.write_text(json.dumps(found))
        part.replace(self.nodes_file)

    def server(self) -> OneServer:
        """One more."""
        server = OneServer(self, len(self.servers))
        self.servers.append(server)
        return server

    async def up(self, servers: int, *nodes: str) -> list[OneServer]:
        """So many servers, and nodes of these names, started where they are not there; returns when all answer."""
        if missing := [name for name in nodes if name not in self.nodes]:
            await self.start_nodes(*missing)
        while len(self.servers) < servers:
            self.server()
        for server in self.servers:
            if not server.is_running:
                server.start()
        return [server.up() for server in self.servers]

    def open_lives(self) -> set[str]:
        """The lives in the ledger that go on and have become ready, by id."""
        query = "SELECT id FROM instances WHERE ended_at IS NULL AND ready_at IS NOT NULL"
        with psycopg.connect(self.database_url) as connection:
            return {name for (name,) in connection.execute(query)}

    def leader(self) -> OneServer:
        """The server that leads, or led last."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("SELECT holder FROM leases").fetchone()
        assert row is not None
        ids = [(self.folder / f"data-{each.number}" / "server-id").read_text().strip() for each in self.servers]
        return self.servers[ids.index(row[0])]

    def agent_processes(self) -> list[psutil.Process]:
        """Those of nodes' agents."""
        return [psutil.Process(each.pid) for each in self.agents.processes.values() if each.returncode is None]

    def nurseries(self) -> list[psutil.Process]:
        """The processes whose forks are replicas."""
        return living(self._nurseries(Processes()))

    def _nurseries(self, seen: Processes) -> list[int]:
        agents = [each.pid for each in self.agent_processes()]
        standbys = [child for agent in agents for child in seen.children(agent) if child not in seen.forks(agent)]
        return [fork for each in standbys for fork in seen.forks(each)]

    def workers(self) -> list[psutil.Process]:
        """The processes of replicas."""
        seen = Processes()
        return living(fork for nursery in self._nurseries(seen) for fork in seen.forks(nursery))

    async def close(self) -> None:
        for server in self.servers:
            server.close()
        await self.agents.close()
