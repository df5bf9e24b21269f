"""The agent of one node of a cluster: from this machine's settings to a process that runs replicas for servers.

Started by whatever knows the cluster's nodes, with the node's name and its address as arguments, and a secret on
standard input. It reads the same settings as a server, from this machine's environment and configuration file.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from modelyard.catalog.hub import Hub
from modelyard.config import load_settings
from modelyard.engine.devices import MachineDevices
from modelyard.engine.local import LocalEngine
from modelyard.engine.log_limits import keep_to_limits
from modelyard.engine.remote.program import run_agent, take_secret, tell_failure
from modelyard.errors import ModelRefused, ModelyardError
from modelyard.private_files import ensure_private_folder
from modelyard.records.files import repository_of
from modelyard.serving.from_settings import LOGS_FOLDER, logs_of, memory_for_replicas
from modelyard.serving.tasks import start_task
from modelyard.tls import load_tls
from modelyard.worker.sandbox.levels import ensure_level


class NodeFiles:
    """Where the models of servers are on this machine; what is of the hub is fetched, once."""

    def __init__(self, hub: Hub | None, node: str) -> None:
        """`hub` None: every folder is shared with the servers, or there is nothing."""
        self._hub = hub
        self._node = node

    async def locate(self, model_id: str, folder: Path) -> Path:
        """See Locate. A folder of a hub's cache is that cache's own here, since another may hold half of it."""
        found = read_snapshot(folder)
        if found is not None and self._hub is not None:
            repository_id, commit = found
            is_of_it = bool(model_id) and repository_of(model_id) == repository_id  # it may name one file of many
            return await self._hub.fetch(model_id if is_of_it else repository_id, commit)
        if not await asyncio.to_thread(folder.is_dir):
            raise ModelRefused(
                f"{model_id or 'Its base'} is not on node {self._node}, and not on the hub.",
                model=model_id,
                detail=f"Share {folder} between the servers and all nodes, at the same path.",
            )
        return folder


def read_snapshot(folder: Path) -> tuple[str, str] | None:
    """The repository and commit that a folder of a hub's cache is of; None for other folders."""
    repository = folder.parent.parent.name
    if folder.parent.name != "snapshots" or not repository.startswith("models--"):
        return None
    return repository.removeprefix("models--").replace("--", "/", 1), folder.name


async def run(node: str, host: str, secret: str) -> None:
    """Runs the agent until it is told to end."""
    settings = load_settings({}).settings
    tls = load_tls(settings)
    ensure_level(settings.sandbox)
    ensure_private_folder(settings.data_dir / LOGS_FOLDER)
    devices = await asyncio.to_thread(MachineDevices, settings.device_memory)
    engine = LocalEngine(
        memory_for_replicas(settings),
        node=node,
        devices=devices.found,
        free_on=devices.free_bytes,
        log_dir=settings.data_dir / LOGS_FOLDER,
        sandbox=settings.sandbox,
        allow_network=settings.allow_network,
        host="" if tls is not None else host,
        is_shared=tls is not None,
    )
    async with AsyncExitStack() as stack:
        hub = Hub() if settings.hub else None
        if hub is not None:
            stack.push_async_callback(hub.aclose)
        start_task(stack, keep_to_limits(*logs_of(settings), time.time), "logs")
        await run_agent(engine, host, secret, locate=NodeFiles(hub, node).locate, tls=tls)


def main() -> None:
    """Entry: argv has the node's name and its address."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    secret = take_secret()
    node, host = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(run(node, host, secret))
        except (ModelyardError, OSError) as error:
            tell_failure(str(error))
            raise


if __name__ == "__main__":
    main()
