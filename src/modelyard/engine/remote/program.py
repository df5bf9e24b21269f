"""The process of a node's agent, from its beginning to its end: a child of whoever needs the node, which it ends with.

It reads the secret that servers must show; that its standard input closes tells it to end. It writes one line: where it
takes connections, or why it does not.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from modelyard.engine.base import UNLED_S
from modelyard.engine.local import LocalEngine
from modelyard.engine.remote.agent import Locate, NodeAgent, locate_here
from modelyard.tls import LinkTls
from modelyard.worker.processes import bind_to_host, die_with_parent


async def run_agent(
    engine: LocalEngine,
    host: str,
    secret: str,
    *,
    locate: Locate = locate_here,
    unled_s: float = UNLED_S,
    tls: LinkTls | None = None,
) -> None:
    """Runs the agent on `host` until it is told to end, or no server has led for `unled_s` and none is connected.
    `tls`: see NodeAgent."""
    with bind_to_host(host) as listener:
        agent = NodeAgent(engine, secret, locate=locate, unled_s=unled_s, tls=tls)
        await engine.start()
        try:
            agent.serve(listener)
            _tell({"port": listener.getsockname()[1], "pid": os.getpid()})
            waits = [asyncio.create_task(told_to_end()), asyncio.create_task(agent.abandoned.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
        finally:
            await agent.close()
            await engine.close()


def tell_failure(reason: str) -> None:
    """Tells the parent why the agent takes no connections."""
    _tell({"failed": reason})


def _tell(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def told_to_end() -> None:
    """Returns when standard input closes, or with SIGTERM."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    closed = asyncio.create_task(reader.read())
    closed.add_done_callback(lambda done: told.set())
    try:
        await told.wait()
    finally:
        closed.cancel()
        transport.close()


def take_secret() -> str:
    """The secret that the parent has chosen, the first line of standard input. From now on this process dies with its
    parent."""
    die_with_parent(os.getppid())
    with open(0, "rb", buffering=0, closefd=False) as unbuffered:  # what follows is for `told_to_end`
        return unbuffered.readline().decode().strip()
