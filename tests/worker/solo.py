"""A program that serves the echoing model alone over HTTP, for tests of a lone worker's process.

Usage: solo.py MAX_BATCH. Prints the port when it listens; its last line on standard error is why it ended.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from modelyard.errors import ModelyardError
from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.http import serve
from tests.engine.harness import echo_spec
from tests.engine.workers import EchoLibrary


async def prepare() -> ReplicaSpec:
    return echo_spec(max_batch=int(sys.argv[1]))


def main() -> None:
    """Exits 1 when the model has failed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        try:
            serve(prepare, listener, lambda spec: print("ready", flush=True), EchoLibrary())
        except ModelyardError as error:
            sys.exit(error.message)


main()
