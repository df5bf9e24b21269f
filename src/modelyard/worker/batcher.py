"""Turns a stream of calls into batches for the one thread that may touch the model.

Owns the waiting calls and that thread. Never waits for company: an idle model takes what there is; what arrives while
it is busy forms the next batch (same batch key, similar length, at most the task's `max_batch`).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.errors import InferenceFailed, ModelyardError
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model

log = logging.getLogger(__name__)

LENGTH_RATIO = 2.0
"""Inputs in one batch differ by at most this factor: padding the shorter ones further costs more than it saves."""
LENGTH_SLACK = 64
"""... except that lengths (characters) below this count as equal: such inputs are cheap whatever the padding."""

Deliver = Callable[[Any | ModelyardError], None]


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that waits, and where its answer goes. `deliver` is called once, on the model's thread."""

    call: Call[Any, Any]
    deliver: Deliver
    key: Hashable
    length: int


def choose_batch(waiting: Sequence[Pending], max_batch: int) -> list[Pending]:
    """The oldest call and those that may run beside it, oldest first. Pure."""
    if not waiting:
        return []
    first = waiting[0]
    batch = []
    shortest = longest = max(first.length, LENGTH_SLACK)
    for pending in waiting:
        length = max(pending.length, LENGTH_SLACK)
        low, high = min(shortest, length), max(longest, length)
        if pending.key == first.key and high <= low * LENGTH_RATIO:
            batch.append(pending)
            shortest, longest = low, high
            if len(batch) == max_batch:
                break
    return batch


class Batcher:
    """Runs one task on one model, on a thread of its own.

    Any thread may `submit`; answers are delivered on the model's thread.
    """

    def __init__(self, task: Task, model: Model, on_idle: Callable[[], None] | None = None) -> None:
        """`on_idle` runs on the model's thread between batches when nothing waits (e.g. to apply new settings)."""
        self._task = task
        self._model = model
        self._on_idle = on_idle
        self._waiting: deque[Pending] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, call: Call[Any, Any], deliver: Deliver) -> None:
        """Queues `call`; `deliver` gets its output, or the ModelyardError it met, exactly once."""
        pending = Pending(call, deliver, self._task.batch_key(call), self._task.length(call))
        with self._changed:
            if self._closed:
                raise InferenceFailed("The replica is stopping.")
            self._waiting.append(pending)
            self._changed.notify()

    def poke(self) -> None:
        """Wakes the model's thread so that `on_idle` runs soon."""
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """Lets `run` return after the batch in progress; what still waits fails."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        """The model thread's loop; returns after `close`."""
        while (batch := self._take()) is not None:
            if batch:
                self._answer(batch)
            elif self._on_idle is not None:
                self._on_idle()
        for pending in self._waiting:
            pending.deliver(InferenceFailed("The replica stopped before this request started."))
        self._waiting.clear()

    def _take(self) -> list[Pending] | None:
        """Blocks for work. Returns a batch, an empty list when only poked, None when closed."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            batch = choose_batch(self._waiting, self._task.max_batch)
            chosen = {id(pending) for pending in batch}
            self._waiting = deque(pending for pending in self._waiting if id(pending) not in chosen)
        left = [pending for pending in batch if pending.call.cancelled()]
        for pending in left:
            pending.deliver(InferenceFailed("Cancelled before it started."))
        return [pending for pending in batch if pending not in left]

    def _answer(self, batch: list[Pending]) -> None:
        try:
            outputs = self._task.run(self._model, [pending.call for pending in batch])
        except ModelyardError as error:
            outputs = [error] * len(batch)
        except Exception as error:  # noqa: BLE001 - model code may raise anything; it must not end the thread
            log.exception("task %s failed on a batch of %d", self._task.id, len(batch))
            if len(batch) > 1:  # one bad input must not fail its neighbours: try each alone
                for pending in batch:
                    self._answer([pending])
                return
            outputs = [InferenceFailed(f"The model failed on this input: {type(error).__name__}: {error}")]
        for pending, output in zip(batch, outputs, strict=True):
            pending.deliver(output)
