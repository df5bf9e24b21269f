"""The process that asks providers: listens for frames on a Unix socket, and ends with the server that started it.

`python -m modelyard.providers.server`: argv[1] is the listening socket's descriptor, argv[2] the server's process id;
the secret comes on standard input.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys

import uvloop

from modelyard.lasting_imports import lasting_imports
from modelyard.protocol import Configure, Failed, Loading, Ready
from modelyard.providers.calls import MOST_AT_ONCE, Ask, ProviderCalls
from modelyard.worker.processes import die_with_parent, exit_at_once
from modelyard.worker.server import WorkerServer

EXIT_FAILED = 1
TELL_FAILURE_S = 10.0
"""How long a process whose library cannot be imported waits for someone to hear why."""
HELLO_S = 60.0
"""The server has said hello before this process runs; on a busy machine an import may come between for seconds."""
MISSING = "The library that asks providers cannot be imported; install modelyard[providers]"


async def serve(listener: socket.socket, secret: str) -> int:
    """Serves until told to stop; returns the process's exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = WorkerServer(secret, ignore, hello_deadline_s=HELLO_S)
    await server.listen(listener)
    server.report(Loading())
    try:
        ask = await asyncio.to_thread(import_library)
    except ImportError as error:
        server.report(Failed(f"{MISSING}: {error}", permanent=True))
        await server.wait_greeted(TELL_FAILURE_S)
        await server.close()
        return EXIT_FAILED
    calls = ProviderCalls(ask)
    server.accept_calls(calls)
    server.report(Ready(slots=MOST_AT_ONCE, joins=True))
    await stop.wait()
    calls.close()
    await server.close()
    return 0


def import_library() -> Ask:
    """What asks a provider. Takes seconds."""
    with lasting_imports():
        from modelyard.providers.library import ask

    return ask


def ignore(settings: Configure) -> None:
    """Settings of models mean nothing here."""


def main() -> None:
    """Entry of the process."""
    listener, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # keys are in its memory
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it fetches a list from the net when it is imported
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    secret = sys.stdin.readline().strip()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(serve(socket.socket(fileno=listener), secret))
    exit_at_once(code)


if __name__ == "__main__":
    main()
