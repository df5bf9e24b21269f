"""A replica in its own process: listens for frames, has a model's life behind them, and ends with it.

Owns the process's signals and exit code. Runs in a fork of the nursery, or alone as
`python -m modelyard.worker.replica` with the spec on standard input and the listening socket as a file descriptor.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys

import msgspec
import uvloop

from modelyard.protocol import Configure, Failed, Status
from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.life import ModelLibrary, ModelLife, Runtimes
from modelyard.worker.log_lines import SentLog
from modelyard.worker.processes import exit_at_once
from modelyard.worker.server import WorkerServer

EXIT_FAILED = 1
"""Exit code of a worker whose model could not be loaded, or has ended; its last STATUS frame says why."""
TELL_FAILURE_S = 10.0
"""How long a worker that has failed waits for someone to hear why."""


class Replica:
    """Ties the frame server to the model's life. All methods belong to the event loop's thread."""

    def __init__(self, spec: ReplicaSpec, library: ModelLibrary) -> None:
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._life = ModelLife(spec, library, self._follow)
        self._server = WorkerServer(
            spec.secret, self._configure, on_answer=self._life.note_answer, load_adapter=self._life.load_adapter
        )
        self._lines = SentLog(self._server.tell_line)

    async def run(self, listener: socket.socket) -> int:
        """Serves until told to stop; returns the process's exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        logging.getLogger().addHandler(self._lines)
        await self._server.listen(listener)
        self._life.start()
        await self._stop.wait()
        if self._exit_code:  # a load can fail before anyone has connected to hear of it
            await self._server.wait_greeted(TELL_FAILURE_S)
        self._life.stop()
        await self._server.close()
        logging.getLogger().removeHandler(self._lines)
        return self._exit_code

    def _configure(self, settings: Configure) -> None:
        self._life.set_threads(settings.threads)

    def _follow(self, status: Status) -> None:
        if self._life.scheduler is not None:
            self._server.accept_calls(self._life.scheduler)
        self._server.report(status)
        if isinstance(status, Failed):
            self._exit_code = EXIT_FAILED
            self._stop.set()


def serve_replica(spec: ReplicaSpec, listener: socket.socket, library: ModelLibrary | None = None) -> int:
    """Runs a replica to its end in this process; returns its exit code. `library`: by default the real one."""
    if spec.visible_devices is not None:  # CUDA reads it when it is opened, which no process before this one has done
        os.environ["CUDA_VISIBLE_DEVICES"] = spec.visible_devices
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True
    )

    async def main() -> int:
        return await Replica(spec, library or Runtimes()).run(listener)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def main() -> None:
    """Entry of a worker started as a fresh process: argv[1] is the listening socket's descriptor."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=ReplicaSpec)
    exit_at_once(serve_replica(spec, socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
