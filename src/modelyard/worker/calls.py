"""From a request to a call of the model, however the request came, and from the model's thread back to the loop's.

Owns the flag that says nobody waits any more, and what waits to be run on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from modelyard.errors import InferenceFailed, ModelyardError
from modelyard.protocol import Outcome, ReplicaTimes
from modelyard.tasks import body
from modelyard.worker.progress import StepLog
from modelyard.worker.schedulers.base import Adapted, Deliver, Scheduler, do_nothing

log = logging.getLogger(__name__)


class RunningCall:
    """A request between its arrival and its answer. `is_cancelled` is read by the model's thread."""

    __slots__ = ("is_cancelled",)

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.is_cancelled


class CallTimes:
    """When one call came, began and was answered; on the model's thread but for its making."""

    __slots__ = ("_batch", "_began_ns", "_came_ns")

    def __init__(self) -> None:
        self._came_ns = time.perf_counter_ns()
        self._began_ns = 0
        self._batch = 0

    def begin(self, batch: int) -> None:
        """The model begins with it, and with so many in all. The first time counts."""
        if not self._began_ns:
            self._began_ns = time.perf_counter_ns()
            self._batch = batch

    def timed(self, deliver: Deliver) -> Deliver:
        """Has an outcome tell the times."""

        def tell(answer: Outcome | ModelyardError) -> None:
            if isinstance(answer, Outcome) and self._began_ns:
                waited_ns, worked_ns = self._began_ns - self._came_ns, time.perf_counter_ns() - self._began_ns
                answer = replace(answer, times=ReplicaTimes(waited_ns // 1000, worked_ns // 1000, self._batch))
            deliver(answer)

        return tell


def submit_call(
    scheduler: Scheduler,
    fields: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    emit: Callable[[str], None] | None,
    deliver: Deliver,
    request_id: int | None = None,
    adapted: Adapted | None = None,
    reading: Callable[[int], None] | None = None,
    times: CallTimes | None = None,
) -> RunningCall:
    """Queues a request for the model. `emit`, `deliver`, `reading` (see Call): called on the model's thread; no `emit`:
    nothing is streamed. `adapted`: see Scheduler.submit. `times`: told by the outcome; None: nobody wants them.

    Raises what the request's fields make wrong, ReplicaLost when the model has ended, InferenceFailed.
    """
    running = RunningCall()
    task = scheduler.task
    try:
        call = body.to_call(
            task,
            fields,
            params,
            emit=emit if task.streams else None,
            cancelled=running.cancelled,
            reading=reading if task.streams else None,
            progress=StepLog(task.id, request_id, emit=emit if task.makes else None),
            begun=None if times is None else times.begin,
        )
        scheduler.submit(call, deliver if times is None else times.timed(deliver), adapted)
    except ModelyardError:
        raise
    except Exception as error:
        log.exception("a request could not be queued")
        raise InferenceFailed(f"The request could not be read: {error}") from error
    return running


def call_on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Runs `function` on the loop's thread soon; callable from any thread. Does nothing once the loop has ended."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:  # the loop is closed: the process is ending while the model still works
        log.debug("the loop has ended before %s", function)


class LoopCalls:
    """Runs functions on the loop's thread, in order. What was put by the time the loop comes to it is run together: one
    wake of the loop for the answers of a batch, not one for each."""

    def __init__(self, loop: asyncio.AbstractEventLoop, after: Callable[[], None] = do_nothing) -> None:
        """`after`: called when some were run."""
        self._loop = loop
        self._after = after
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._is_woken = False

    def put(self, function: Callable[..., None], *args: Any) -> None:
        """Runs `function` soon; callable from any thread. Does nothing once the loop has ended."""
        self._waiting.append((function, args))
        if not self._is_woken:
            self._is_woken = True
            call_on_loop(self._loop, self._run)

    def _run(self) -> None:
        self._is_woken = False  # before it looks: whoever puts something from now on wakes the loop again
        for _ in range(len(self._waiting)):
            function, args = self._waiting.popleft()
            try:
                function(*args)
            except Exception:
                log.exception("%s failed", function)
        self._after()
