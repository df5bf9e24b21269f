"""A program that serves the echoing model alone over HTTP, for tests of a lone worker's process.

Usage: solo.py MAX_BATCH AT_ONCE. Answers nobody before it has been asked AT_ONCE times. Prints the port when it
listens; its last line on standard error is why it ended.
"""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from modelyard.errors import ModelyardError
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.base import Call, Task
from modelyard.worker.http import serve
from tests.engine.harness import echo_spec
from tests.engine.workers import EchoLibrary

MAX_BATCH, AT_ONCE = map(int, sys.argv[1:])


class PatientLibrary(EchoLibrary):
    """Its model waits until it has been asked AT_ONCE times."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0
        self.answers.clear()

    def find_task(self, spec: ReplicaSpec) -> Task:
        return replace(super().find_task(spec), length=self._count)

    def _count(self, call: Call[Any, Any]) -> int:
        self._asked += 1
        if self._asked == AT_ONCE:
            self.answers.set()
        return 0


async def prepare() -> ReplicaSpec:
    return echo_spec(max_batch=MAX_BATCH)


def main() -> None:
    """Exits 1 when the model has failed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        try:
            serve(prepare, listener, lambda spec: print("ready", flush=True), PatientLibrary())
        except ModelyardError as error:
            sys.exit(error.message)


main()
