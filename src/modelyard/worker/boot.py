"""A replica's life inside its own process: listen, load, serve, stop.

Owns the model's thread and the process's exit code. Runs in a fork of the nursery, or alone as
`python -m modelyard.worker.boot` with the spec on standard input and the listening socket as a file descriptor.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec

from modelyard.errors import ModelyardError
from modelyard.protocol import Configure, Failed, Loading, Ready
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.base import Task
from modelyard.tasks.maker import Loaded
from modelyard.tasks.registry import get_task
from modelyard.worker.limits import limit_memory
from modelyard.worker.memory import Gauge, Memory
from modelyard.worker.processes import exit_at_once
from modelyard.worker.schedulers.batches import Batcher
from modelyard.worker.server import WorkerServer

log = logging.getLogger(__name__)

EXIT_FAILED = 1
"""Exit code of a worker whose model could not be loaded; it has said why in its last STATUS frame."""
LAST_WORDS_S = 10.0
"""How long a worker that has failed waits for someone to hear why."""
MEMORY_EVERY_S = 2.0
"""A worker that answers requests says this often, at most, what it holds: weights that are mapped count once read."""
MEMORY_STEP_BYTES = 1024**2
"""Smaller changes are not worth a frame."""


class Workshop(Protocol):
    """What a replica needs from outside to have a model. Its methods run on the model's thread."""

    def find_task(self, spec: ReplicaSpec) -> Task:
        """The task to serve. Raises ModelyardError."""

    def set_threads(self, count: int) -> None:
        """Sets how many threads one operation of the model may use."""

    def load(self, spec: ReplicaSpec, task: Task) -> Loaded:
        """The model. May raise anything; ModelyardError in particular."""

    def device_bytes(self) -> int | None:
        """The most that this process has held on an accelerator; None: it uses none. On any thread."""


class Runtimes:
    """The workshop of real workers: tasks from the registry, models from the runtimes."""

    def find_task(self, spec: ReplicaSpec) -> Task:
        """See Workshop."""
        return get_task(spec.task)

    def set_threads(self, count: int) -> None:
        """See Workshop."""
        from modelyard.worker.runtimes.threads import set_threads

        set_threads(count)

    def load(self, spec: ReplicaSpec, task: Task) -> Loaded:
        """See Workshop."""
        from modelyard.worker.runtimes.base import load_model

        return load_model(
            spec.runtime,
            Path(spec.path),
            task.heads,
            device=spec.device,
            remote_code=spec.remote_code,
            pickled=spec.pickled,
        )

    def device_bytes(self) -> int | None:
        """See Workshop."""
        from modelyard.worker.runtimes.device import peak_device_bytes

        return peak_device_bytes()


class Replica:
    """Ties the frame server (loop thread) to the model (its own thread)."""

    def __init__(self, spec: ReplicaSpec, workshop: Workshop) -> None:
        self._spec = spec
        self._workshop = workshop
        self._threads = self._threads_set = spec.threads
        self._stop = asyncio.Event()
        self._answered = asyncio.Event()
        self._exit_code = 0
        self._gauge = Gauge()
        self._server = WorkerServer(spec.secret, self._configure, on_answer=self._answered.set)
        self._batcher: Batcher | None = None

    async def run(self, listener: socket.socket) -> int:
        """Serves until told to stop; returns the process's exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await self._server.listen(listener)
        self._server.report(Loading())
        threading.Thread(target=self._model_thread, name="model", daemon=True).start()
        await self._stop.wait()
        if self._exit_code:  # a load can fail before anyone has connected to hear of it
            await self._server.wait_greeted(LAST_WORDS_S)
        if self._batcher is not None:
            self._batcher.close()
        await self._server.close()
        return self._exit_code

    # --- on the model's thread ---

    def _model_thread(self) -> None:
        try:
            batcher = self._load()
            memory = self._measure()
        except BaseException as error:
            log.exception("loading %s failed", self._spec.model_id)
            self._server.call(self._fail, Failed(last_words(error), permanent=is_permanent(error)))
            return
        self._server.call(self._serve, batcher, memory)
        try:
            batcher.run()
        except BaseException as error:  # e.g. a model that calls sys.exit(): without its thread the replica is useless
            log.exception("the model's thread ended")
            self._server.call(self._fail, Failed(last_words(error), permanent=False))
            raise

    def _load(self) -> Batcher:
        started = time.perf_counter()
        spec = self._spec
        task = self._workshop.find_task(spec)
        self._workshop.set_threads(self._threads_set)
        if spec.memory_limit_bytes is not None:
            limit_memory(spec.memory_limit_bytes)
        model = self._workshop.load(spec, task)
        log.info("loaded %s in %.0f ms", spec.model_id, (time.perf_counter() - started) * 1000)
        # What was allocated so far lives as long as the process: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        return Batcher(task, model, between=self._apply_threads, max_batch=spec.max_batch)

    def _measure(self) -> Memory | None:
        """What this process holds, on its machine and on an accelerator. On any thread, but one at a time."""
        memory = self._gauge.measure()
        return None if memory is None else replace(memory, device_bytes=self._workshop.device_bytes())

    def _apply_threads(self) -> None:
        if self._threads_set != self._threads:
            self._threads_set = self._threads
            self._workshop.set_threads(self._threads_set)

    # --- on the loop's thread ---

    def _configure(self, settings: Configure) -> None:
        """Takes new settings while running; `threads` is applied between batches, by the thread it concerns."""
        self._threads = settings.threads
        if self._batcher is not None:
            self._batcher.poke()

    def _serve(self, batcher: Batcher, memory: Memory | None) -> None:
        self._batcher = batcher
        self._server.accept_calls(batcher)
        self._report_ready(batcher, memory)
        self._reporter = asyncio.create_task(self._follow_memory(batcher, memory), name="memory")

    async def _follow_memory(self, batcher: Batcher, said: Memory | None) -> None:
        while said is not None:
            await self._answered.wait()
            self._answered.clear()
            memory = await asyncio.to_thread(self._measure)  # the kernel walks the page tables
            if memory is not None and differs(memory, said):
                said = memory
                self._report_ready(batcher, memory)
            await asyncio.sleep(MEMORY_EVERY_S)

    def _report_ready(self, batcher: Batcher, memory: Memory | None) -> None:
        self._server.report(
            Ready(
                batcher.max_batch,
                memory_bytes=memory.held_bytes if memory else None,
                peak_bytes=memory.peak_bytes if memory else None,
                device_bytes=memory.device_bytes if memory else None,
            )
        )

    def _fail(self, failed: Failed) -> None:
        self._exit_code = EXIT_FAILED
        self._server.report(failed)
        self._stop.set()


def differs(now: Memory, before: Memory) -> bool:
    """Whether the change is worth telling."""
    return (
        abs(now.held_bytes - before.held_bytes) >= MEMORY_STEP_BYTES
        or abs(now.peak_bytes - before.peak_bytes) >= MEMORY_STEP_BYTES
        or abs((now.device_bytes or 0) - (before.device_bytes or 0)) >= MEMORY_STEP_BYTES
    )


def is_permanent(error: BaseException) -> bool:
    """Whether a load that failed so would fail again: memory and files may come back, a model stays as it is."""
    if isinstance(error, ModelyardError):
        return not error.retryable
    return not isinstance(error, MemoryError | OSError)


def last_words(error: BaseException) -> str:
    """One sentence, for a person, about why a model did not load."""
    if isinstance(error, ModelyardError):
        return error.message
    if isinstance(error, MemoryError):
        return "Out of memory while loading."
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"{type(error).__name__}: {first_line}"


def serve_replica(spec: ReplicaSpec, listener: socket.socket, workshop: Workshop | None = None) -> int:
    """Runs a replica to its end in this process; returns its exit code. `workshop`: by default the real one."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True
    )

    async def main() -> int:
        return await Replica(spec, workshop or Runtimes()).run(listener)

    return asyncio.run(main())


def main() -> None:
    """Entry of a worker started as a fresh process: argv[1] is the listening socket's descriptor."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=ReplicaSpec)
    exit_at_once(serve_replica(spec, socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
