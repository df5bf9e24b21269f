"""A model's life in a process: found, loaded, asked in batches on a thread of its own, ended.

Owns that thread, the model's memory limit, and the words for why it ended. Knows nothing of how requests arrive: a
replica's frames and a lone worker's HTTP are built on it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

from modelyard.errors import BootFailed, ModelRefused, ModelyardError, ReplicaLost, Unavailable
from modelyard.lasting_imports import lasting_imports
from modelyard.protocol import Failed, Loading, Ready, Starting, Status
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.base import Task
from modelyard.tasks.maker import Loaded
from modelyard.tasks.model import Model, TextModel
from modelyard.tasks.registry import get_task
from modelyard.tasks.token_model import HasTokenModel, TokenModel
from modelyard.worker.calls import call_on_loop
from modelyard.worker.limits import lift_memory_limit, limit_memory, megabytes, says_out_of_memory
from modelyard.worker.memory import STEP_BYTES, Gauge, Memory, release_freed_memory
from modelyard.worker.schedulers.base import Scheduler
from modelyard.worker.schedulers.batches import Batcher
from modelyard.worker.schedulers.slots import Slots
from modelyard.worker.schedulers.tokens import Tokens
from modelyard.worker.second_nursery import WRITES_ITSELF
from modelyard.worker.threads_by_work import ThreadsByWork

log = logging.getLogger(__name__)

MEMORY_EVERY_S = 2.0
"""How often, at most, a model that answers requests is measured: weights that are mapped count once they are read."""
MEMORY_SOON_S = 0.5
"""How long after an answer: one that has to leave again at once, as where memory is short, is not worth the 15 ms."""


class ModelLibrary(Protocol):
    """What a life needs from outside to have a model. Its methods run on the model's thread."""

    def find_task(self, spec: ReplicaSpec) -> Task:
        """The task to serve. Raises ModelyardError."""

    def set_threads(self, count: int) -> None:
        """Sets how many threads one operation of the model may use."""

    def load(self, spec: ReplicaSpec, task: Task) -> Loaded:
        """The model. May raise anything; ModelyardError in particular."""

    def load_adapter(self, model: Loaded, path: Path) -> Callable[[], Loaded]:
        """Reads the adapter in the folder `path`; on any thread. What is returned makes the model with that adapter
        beside its weights, on the model's thread. Both may raise anything."""

    def device_bytes(self) -> int | None:
        """The most that this process has held on an accelerator; None: it uses none. On any thread."""


class Runtimes:
    """The library of real workers: tasks from the registry, models from the runtimes."""

    def find_task(self, spec: ReplicaSpec) -> Task:
        """See ModelLibrary."""
        return get_task(spec.task)

    def set_threads(self, count: int) -> None:
        """See ModelLibrary."""
        from modelyard.worker.runtimes.threads import set_threads

        set_threads(count)

    def load(self, spec: ReplicaSpec, task: Task) -> Loaded:
        """See ModelLibrary."""
        from modelyard.worker.runtimes.base import load_adapted, load_file, load_model
        from modelyard.worker.runtimes.device import Spread

        if spec.base is not None:
            return load_adapted(spec, task.heads)
        if spec.weights is not None:
            return load_file(spec, task.heads)
        return load_model(
            spec.runtime,
            Path(spec.path),
            task.heads,
            device=spec.device,
            remote_code=spec.remote_code,
            precision=spec.precision,
            spread=Spread(spec.device_count, spec.device_share_bytes) if spec.device_count > 1 else None,
        )

    def load_adapter(self, model: Loaded, path: Path) -> Callable[[], Loaded]:
        """See ModelLibrary."""
        from modelyard.worker.runtimes.base import load_beside

        return load_beside(model, path)

    def device_bytes(self) -> int | None:
        """See ModelLibrary."""
        from modelyard.worker.runtimes.device import peak_device_bytes

        return peak_device_bytes()


class FreshRuntimes(Runtimes):
    """The library of a worker that was not forked from a nursery, and so has imported nothing yet."""

    def find_task(self, spec: ReplicaSpec) -> Task:
        """See ModelLibrary. Imports the runtime as well: a memory limit is to count the model's own memory alone."""
        from modelyard.worker.runtimes.base import find_loader

        with lasting_imports():
            if spec.runtime in WRITES_ITSELF:
                import modelyard.worker.runtimes.without_torch  # noqa: F401 - before anything looks for it
            task = super().find_task(spec)
            if (import_loader := find_loader(spec.runtime, task.heads)) is not None:
                import_loader()
        return task


class ModelLife:
    """One model, from `start` to `stop`. All methods belong to the event loop's thread, those marked excepted.

    `scheduler` takes requests once `status` is Ready, and fails them when the model's thread has ended, which makes
    `status` Failed. `error` is then what became of it.
    """

    def __init__(self, spec: ReplicaSpec, library: ModelLibrary, on_status: Callable[[Status], None]) -> None:
        """`on_status` is called after every change of `status`, on the loop's thread.

        To be made before the process has mapped anything for the model: see Gauge.
        """
        self._spec = spec
        self._library = library
        self._on_status = on_status
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadsByWork(spec.threads, library.set_threads)
        self._gauge = Gauge()
        self._answered = asyncio.Event()
        self._model: Loaded | None = None
        self._between_batches: deque[Callable[[], None]] = deque()
        self.status: Status = Starting()
        self.scheduler: Scheduler | None = None
        self.error: ModelyardError | None = None

    def start(self) -> None:
        """Begins to load."""
        self._announce(Loading())
        threading.Thread(target=self._run, name="model", daemon=True).start()

    def stop(self) -> None:
        """Lets the model's thread end after its batch; what still waits fails. Idempotent."""
        if self.scheduler is not None:
            self.scheduler.close()

    def set_threads(self, count: int) -> None:
        """Takes how many threads there are for it now; the thread it concerns applies it between batches."""
        self._threads.allowed = count
        if self.scheduler is not None:
            self.scheduler.poke()

    async def load_adapter(self, path: Path) -> Loaded:
        """The model with the adapter in the folder `path` beside its weights. Requests go on meanwhile; only the last
        step comes between two of the model's. Raises ModelyardError: a retryable one when another try may do better."""
        if self._model is None or self.scheduler is None:
            raise ReplicaLost("The replica is not ready.")
        try:
            make = await asyncio.to_thread(self._library.load_adapter, self._model, path)
            return await self._run_between(make)
        except ModelyardError:
            raise
        except Exception as error:
            log.exception("loading the adapter in %s failed", path)
            kind = ModelRefused if is_permanent(error) else BootFailed
            raise kind(describe_failure(error)) from error

    def _run_between(self, make: Callable[[], Loaded]) -> asyncio.Future[Loaded]:
        """What `make` returns on the model's thread, between two steps or batches."""
        made: asyncio.Future[Loaded] = self._loop.create_future()

        def run() -> None:
            try:
                result = make()
            except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                call_on_loop(self._loop, made.set_exception, error)
            else:
                call_on_loop(self._loop, made.set_result, result)

        self._between_batches.append(run)
        assert self.scheduler is not None  # noqa: S101 - asked for by who has looked
        self.scheduler.poke()
        return made

    def note_answer(self) -> None:
        """Has the model's memory measured soon, and told when it has changed."""
        self._answered.set()

    # --- on the model's thread ---

    def _run(self) -> None:
        try:
            scheduler = self._load()
            memory = self._measure()
        except BaseException as failure:
            self._lift_limit()
            log.exception("loading %s failed", self._spec.model_id)
            error = name_limit(failure, self._spec.memory_limit_bytes)
            call_on_loop(self._loop, self._fail, error, is_permanent(error))
            return
        call_on_loop(self._loop, self._serve, scheduler, memory)
        try:
            scheduler.run()
        except BaseException as error:  # e.g. a model that calls sys.exit(): without its thread it answers nobody
            self._lift_limit()
            log.exception("the model's thread ended")
            scheduler.close()
            call_on_loop(self._loop, self._fail, error, False)

    def _load(self) -> Scheduler:
        started = time.perf_counter()
        spec = self._spec
        task = self._library.find_task(spec)
        self._library.set_threads(spec.threads)
        if spec.memory_limit_bytes is not None:
            limit_memory(spec.memory_limit_bytes)
        model = self._model = self._library.load(spec, task)
        log.info("loaded %s in %.0f ms", spec.model_id, (time.perf_counter() - started) * 1000)
        # What was allocated so far lives as long as the process: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        release_freed_memory()
        if task.generation is not None and isinstance(model, TextModel):
            return Slots(task, task.generation, model, self._between, spec.max_batch, self._threads)
        rows = find_rows(task, model, spec.reserved_bytes)
        if rows is not None and task.generation is not None:
            return Tokens(
                task, task.generation, cast("Model", model), rows, self._between, spec.max_batch, self._threads
            )
        return Batcher(task, model, self._between, spec.max_batch, self._threads)

    def _lift_limit(self) -> None:
        if self._spec.memory_limit_bytes is not None:
            lift_memory_limit()

    def _measure(self) -> Memory | None:
        """What this process holds, on its machine and on an accelerator. On any thread, but one at a time."""
        memory = self._gauge.measure()
        return None if memory is None else replace(memory, device_bytes=self._library.device_bytes())

    def _measure_anew(self, before: Memory) -> Memory | None:
        """The same, after `before`; what has hardly changed is not measured: the kernel walks the page tables."""
        if self._gauge.has_moved():
            return self._measure()
        return replace(before, device_bytes=self._library.device_bytes())

    def _between(self) -> None:
        while self._between_batches:
            self._between_batches.popleft()()

    # --- on the loop's thread ---

    def _announce(self, status: Status) -> None:
        self.status = status
        self._on_status(status)

    def _serve(self, scheduler: Scheduler, memory: Memory | None) -> None:
        self.scheduler = scheduler
        self._announce(ready_status(scheduler, memory))
        self._follower = asyncio.create_task(self._follow_memory(scheduler, memory), name="memory")

    async def _follow_memory(self, scheduler: Scheduler, reported: Memory | None) -> None:
        while reported is not None:
            await self._answered.wait()
            self._answered.clear()
            await asyncio.sleep(MEMORY_SOON_S)
            if not self._answered.is_set():  # nobody asks just now
                await asyncio.to_thread(release_freed_memory)
            memory = await asyncio.to_thread(self._measure_anew, reported)
            if memory is not None and differs(memory, reported) and isinstance(self.status, Ready):
                reported = memory
                self._announce(ready_status(scheduler, memory))
            await asyncio.sleep(MEMORY_EVERY_S - MEMORY_SOON_S)

    def _fail(self, error: BaseException, permanent: bool) -> None:
        reason = describe_failure(error)
        self.error = error if isinstance(error, ModelyardError) else Unavailable(reason)
        self._announce(Failed(reason, permanent))


def find_rows(task: Task, model: Loaded, reserved_bytes: int | None = None) -> TokenModel | None:
    """The rows that the model is written with token by token, where it and the task allow that. `reserved_bytes`: what
    is set aside for the process; None: not told."""
    if task.generation is None or not task.generation.reads_ids or not isinstance(model, HasTokenModel):
        return None
    return model.find_token_model(reserved_bytes)


def ready_status(scheduler: Scheduler, memory: Memory | None) -> Ready:
    """What there is to tell of a model that takes requests."""
    if memory is None:
        return Ready(scheduler.max_batch, joins=scheduler.joins)
    return Ready(scheduler.max_batch, memory.held_bytes, memory.peak_bytes, memory.device_bytes, joins=scheduler.joins)


def differs(now: Memory, before: Memory) -> bool:
    """Whether the change is worth telling."""
    return (
        abs(now.held_bytes - before.held_bytes) >= STEP_BYTES
        or abs(now.peak_bytes - before.peak_bytes) >= STEP_BYTES
        or abs((now.device_bytes or 0) - (before.device_bytes or 0)) >= STEP_BYTES
    )


def name_limit(error: BaseException, limit_bytes: int | None) -> BaseException:
    """The same error; when a load has met its process's limit of memory, one that says so, and that it would again."""
    ran_out = any(says_out_of_memory(each) for each in (error, error.__cause__) if each is not None)
    if limit_bytes is None or not ran_out:
        return error
    what = describe_failure(error).rstrip(".")
    return ModelRefused(f"{what}; a worker of this model may allocate {megabytes(limit_bytes)}.")


def is_permanent(error: BaseException) -> bool:
    """Whether a load that failed so would fail again: memory and files may come back, a model stays as it is."""
    if isinstance(error, ModelyardError):
        return not error.retryable
    return not isinstance(error, OSError) and not says_out_of_memory(error)


def describe_failure(error: BaseException) -> str:
    """One sentence, for a person, about why a model did not load or has ended."""
    if isinstance(error, ModelyardError):
        return error.message
    if says_out_of_memory(error):
        return "Out of memory while loading."
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"{type(error).__name__}: {first_line}"
