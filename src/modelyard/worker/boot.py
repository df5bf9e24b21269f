"""A replica's life inside its own process: listen, load, serve, stop.

Owns the model's thread and the process's exit code. Runs in a fork of the nursery, or alone as
`python -m modelyard.worker.boot` with the spec on standard input and the listening socket as a file descriptor.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from modelyard.errors import ModelyardError
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.types import ReplicaSpec
from modelyard.worker.batcher import Batcher
from modelyard.worker.memory import pss_bytes
from modelyard.worker.server import Phase, WorkerServer

log = logging.getLogger(__name__)

EXIT_FAILED = 1
"""Exit code of a worker whose model could not be loaded; it has said why in its last STATUS frame."""


class Replica:
    """Ties the frame server (loop thread) to the model (its own thread)."""

    def __init__(self, spec: ReplicaSpec) -> None:
        self._spec = spec
        self._task = get_task(spec.task)
        self._threads = spec.threads
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._server = WorkerServer(self._task, spec.secret, self._configure)
        self._batcher: Batcher | None = None

    async def run(self, listener: socket.socket) -> int:
        """Serves until told to stop; returns the process's exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await self._server.listen(listener)
        self._server.report(phase=Phase.LOADING)
        thread = threading.Thread(target=self._model_thread, name="model", daemon=True)
        thread.start()
        await self._stop.wait()
        if self._batcher is not None:
            self._batcher.close()
        await self._server.close()
        return self._exit_code

    def _configure(self, settings: Mapping[str, Any]) -> None:
        """Takes new settings while running; `threads` is applied between batches, by the thread it concerns."""
        self._threads = int(settings.get("threads", self._threads))
        if self._batcher is not None:
            self._batcher.poke()

    def _model_thread(self) -> None:
        try:
            model = self._load()
        except Exception as error:  # noqa: BLE001 - whatever stops a load becomes the replica's last words
            log.exception("loading %s failed", self._spec.model_id)
            self._server.call(self._fail, last_words(error))
            return
        batcher = Batcher(self._task, model, on_idle=self._apply_threads)
        self._server.call(self._serve, batcher, pss_bytes())
        batcher.run()

    def _load(self) -> Model:
        from modelyard.worker.runtimes.base import load_model

        self._apply_threads()
        started = time.perf_counter()
        spec = self._spec
        model = load_model(
            spec.runtime, Path(spec.path), self._task.heads, device=spec.device, remote_code=spec.remote_code
        )
        log.info("loaded %s in %.0f ms", self._spec.model_id, (time.perf_counter() - started) * 1000)
        # What was allocated so far lives as long as the process: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        return model

    def _apply_threads(self) -> None:
        from modelyard.worker.runtimes.threads import set_threads

        set_threads(self._threads)

    def _serve(self, batcher: Batcher, memory_bytes: int | None) -> None:
        self._batcher = batcher
        self._server.accept_calls(batcher)
        self._server.report(phase=Phase.READY, memory_bytes=memory_bytes, slots=self._task.max_batch)

    def _fail(self, reason: str) -> None:
        self._exit_code = EXIT_FAILED
        self._server.report(phase=Phase.FAILED, reason=reason)
        self._stop.set()


def last_words(error: BaseException) -> str:
    """One sentence, for a person, about why a model did not load."""
    if isinstance(error, ModelyardError):
        return error.message
    if isinstance(error, MemoryError):
        return "Out of memory while loading."
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"{type(error).__name__}: {first_line}"


def serve_replica(spec: ReplicaSpec, listener: socket.socket) -> int:
    """Runs a replica to its end in this process; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True)

    async def main() -> int:
        return await Replica(spec).run(listener)

    return asyncio.run(main())


def redirect_output(log_path: str | None) -> None:
    """Sends standard output and error to the replica's log and detaches standard input."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if log_path is not None:
        Path(log_path).parent.mkdir(parents=True, exist_ok=True)
        target = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)
    os.close(null)


def main() -> None:
    """Entry of a worker started as a fresh process: argv[1] is the listening socket's descriptor."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=ReplicaSpec)
    listener = socket.socket(fileno=int(sys.argv[1]))
    redirect_output(spec.log_path)
    code = serve_replica(spec, listener)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a model's own threads and exit handlers must not hold up the end


if __name__ == "__main__":
    main()
