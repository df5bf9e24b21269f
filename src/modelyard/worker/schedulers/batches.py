"""Turns a stream of calls into batches for the one thread that may touch the model.

Owns the waiting calls and that thread. Never waits for company: an idle model takes what there is; what arrives while
it is busy forms the next batch (same batch key, at most `max_batch`, no more padding than a batch less is worth).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from modelyard.errors import InferenceFailed, ModelyardError, ReplicaLost
from modelyard.protocol import Outcome, Work
from modelyard.tasks.base import Call, Task
from modelyard.tasks.maker import Loaded
from modelyard.worker.limits import input_too_large
from modelyard.worker.log_lines import current_call, work_on
from modelyard.worker.schedulers.base import Adapted, Deliver, Scheduler, do_nothing, one_thread
from modelyard.worker.schedulers.costs import SHARE, UNKNOWN_LENGTH, BatchCosts
from modelyard.worker.schedulers.tally import WorkTally
from modelyard.worker.threads_by_work import ThreadsByWork

log = logging.getLogger(__name__)

STEPS_LENGTH = 4096.0
"""The length that costs as much as a batch whose answers take many passes, such as texts that are written: a hundred
passes of a small model, each as dear as 10 to 30 tokens."""


class Pending(msgspec.Struct, eq=False):
    """A call that waits, and where its answer goes: `deliver` is called once, by `answer`.

    `started`: the client has seen a part. `model`: who is to answer. `current`: the call as `work_on` knows it.
    """

    call: Call[Any, Any]
    deliver: Deliver
    key: Hashable
    length: int
    started: bool = False
    answered: bool = False
    model: Any = None
    current: object | None = msgspec.field(default_factory=current_call.get)

    def answer(self, answer: Outcome | ModelyardError) -> None:
        """Delivers the answer, the first time."""
        if not self.answered:
            self.answered = True
            self.deliver(answer)

    def fail(self, error: BaseException, task: Task) -> None:
        """Answers with what the client gets for what model code raised."""
        self.answer(work_on(self.current, as_answer, error, task))

    def to_run(self) -> Call[Any, Any]:
        """The call as its task gets it, who notes here what it shows, and that it ends. Not kept: both would name one
        another, garbage that is collected late."""
        emit = self.call.emit
        show = None if emit is None else partial(self.show, emit)
        return msgspec.structs.replace(self.call, emit=show, cancelled=self.ends)

    def show(self, emit: Callable[[str], None], text: str) -> None:
        """Hands on a part of the answer."""
        self.started = True
        emit(text)

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer; unlike `ends`, it only asks."""
        return self.call.cancelled()

    def ends(self) -> bool:
        """The `cancelled` of a call that runs: a task that asks ends its work on the call, which is told at once."""
        if self.cancelled():
            self.answer(InferenceFailed("Cancelled."))
            return True
        return False


def choose_batch(waiting: Sequence[Pending], max_batch: int, pass_length: float = UNKNOWN_LENGTH) -> list[Pending]:
    """The oldest call and those that are better run beside it than after it, oldest first. Pure.

    `pass_length`: the length that costs as much as one more batch. The nearest in length come first; each joins whose
    padding, and that which it brings upon the others, is shorter; until the batch hardly gains by growing.
    """
    if not waiting:
        return []
    first = waiting[0]
    alike = [place for place, pending in enumerate(waiting) if pending.key == first.key]
    chosen, longest = [0], first.length
    nearest = sorted(alike, key=lambda place: abs(waiting[place].length - first.length))  # the older of equals first
    for place in nearest[1:max_batch]:
        length = waiting[place].length
        stretched = max(longest, length)
        size = (len(chosen) + 1) * stretched
        if size - len(chosen) * longest - length <= pass_length and size <= SHARE * pass_length:
            chosen.append(place)
            longest = stretched
    return [waiting[place] for place in sorted(chosen)]


class Batcher(Scheduler):
    """Runs a batch from its beginning to its end, then the next."""

    joins = False

    def __init__(
        self,
        task: Task,
        model: Loaded,
        between: Callable[[], None] = do_nothing,
        max_batch: int | None = None,
        threads: ThreadsByWork | None = None,
    ) -> None:
        """`between` runs on the model's thread before every batch and after a `poke` (e.g. to apply new settings).

        `max_batch`: most calls in one batch; None, or more than the task allows: the task's own. `threads`: the
        model's; None: one.
        """
        self.task = task
        self.max_batch = task.max_batch if max_batch is None else max(1, min(max_batch, task.max_batch))
        self._model = model
        self._between = between
        self._threads = threads or one_thread()
        self._costs = BatchCosts()
        self._size_tells_costs = task.answers_in_one_pass
        self._tally = WorkTally()
        self._waiting: list[Pending] = []
        self._changed = threading.Condition()
        self._poked = False
        self._closed = False

    def submit(self, call: Call[Any, Any], deliver: Deliver, adapted: Adapted | None = None) -> None:
        """See Scheduler. A batch is of one adapter, or of none."""
        name, model = adapted or (None, self._model)
        key = (name, self.task.batch_key(call))
        pending = Pending(call, deliver, key, self.task.length(call), model=model)
        with self._changed:
            if self._closed:
                raise ReplicaLost("The replica is stopping.")
            self._waiting.append(pending)
            self._changed.notify()

    def drop_cancelled(self) -> None:
        """See Scheduler."""
        with self._changed:
            left = self._take_cancelled()
        fail_cancelled(left)

    def poke(self) -> None:
        """See Scheduler: has `between` run soon."""
        with self._changed:
            self._poked = True
            self._changed.notify()

    def describe_work(self) -> Work:
        """See Scheduler."""
        return self._tally.describe()

    def close(self) -> None:
        """See Scheduler."""
        with self._changed:
            self._closed = True
            left, self._waiting = self._waiting, []
            self._changed.notify()
        for pending in left:
            pending.answer(ReplicaLost("The replica stopped before this request started."))

    def run(self) -> None:
        """See Scheduler."""
        while (batch := self._take()) is not None:
            self._run_batch(batch)

    def _take(self) -> list[Pending] | None:
        """Blocks for work. Returns a batch, an empty list when only poked, None when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._poked or self._closed)
            if self._closed:
                return None
            if self._poked:
                self._poked = False
                self._costs.forget()
            left = self._take_cancelled()
            pass_length = self._costs.pass_length if self._size_tells_costs else STEPS_LENGTH
            batch = choose_batch(self._waiting, self.max_batch, pass_length)
            taken = set(batch)
            self._waiting = [pending for pending in self._waiting if pending not in taken]
        fail_cancelled(left)
        return batch

    def _take_cancelled(self) -> list[Pending]:
        """Those of the waiting that were cancelled, which wait no more. For who holds the lock."""
        left = [pending for pending in self._waiting if pending.cancelled()]
        if left:
            self._waiting = [pending for pending in self._waiting if pending not in left]
        return left

    def _run_batch(self, batch: list[Pending]) -> None:
        """Answers every call, also when the thread ends with this batch: what ends it is passed on."""
        try:
            self._between()
            if batch:
                work_on(current_of(batch), self._answer, batch)
        except BaseException:
            for pending in batch:
                if not pending.answered:
                    pending.answer(ReplicaLost("The model ended while it held this request."))
            raise

    def _answer(self, batch: list[Pending]) -> None:
        self._tally.note_batch(len(batch), self.max_batch)
        for pending in batch:
            if pending.call.begun is not None:
                pending.call.begun(len(batch))
        try:
            model = cast("Loaded", StoppableModel(batch[0].model, batch))
            longest = max(pending.length for pending in batch)
            self._threads.prepare(len(batch) * max(1, longest) if self._size_tells_costs else None)
            began = time.perf_counter()
            outputs = self.task.run(model, [pending.to_run() for pending in batch])
            took_s = time.perf_counter() - began
            self._costs.add(len(batch) * longest, took_s)
            self._threads.note(took_s)
            answers = list(zip(batch, outputs, strict=True))
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise  # all else that model code may raise must not end the thread
            fail_cancelled([pending for pending in batch if pending.cancelled()])
            batch = [pending for pending in batch if not pending.answered]
            if not batch:
                return None
            if len(batch) == 1:
                return batch[0].fail(error, self.task)
            log.warning("%s failed on a batch of %d; trying each alone: %s", self.task.id, len(batch), error)
            # One bad input must not fail its neighbours. What a client has seen a part of cannot begin again.
            for pending in batch:
                if pending.started:
                    pending.fail(error, self.task)
                else:
                    work_on(pending.current, self._answer, [pending])
            return None
        for pending, output in answers:
            pending.answer(output if isinstance(output, Outcome | ModelyardError) else Outcome(output))
        return None


def current_of(working: Sequence[Pending]) -> object | None:
    """The one call that is worked on; None where there are several."""
    return working[0].current if len(working) == 1 else None


def fail_cancelled(left: Sequence[Pending]) -> None:
    """Answers calls that nobody waits for."""
    for pending in left:
        pending.answer(InferenceFailed("Cancelled."))


class StoppableModel:
    """The model of a batch: no pass begins once every call of the batch was cancelled. Else it is the model itself."""

    def __init__(self, model: Any, batch: Sequence[Pending]) -> None:
        self._model = model
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """See `tasks.model.Model.forward`. Raises InferenceFailed when nobody waits any more."""
        if all(pending.cancelled() for pending in self._batch):
            raise InferenceFailed("Cancelled.")
        return self._model.forward(*inputs, **settings)


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust gave up, such as a tokenizer whose pattern needs too many steps on a text.

    Its bindings derive that from BaseException, in a module that cannot be imported. Source: pyo3, PanicException.
    """
    return type(error).__name__ == "PanicException"


def as_answer(error: BaseException, task: Task) -> ModelyardError:
    """What the client gets for what model code raised; the trace of anything unforeseen goes to the log."""
    if isinstance(error, ModelyardError):
        return error
    if isinstance(error, MemoryError):
        return input_too_large(error, "on this input")
    log.error("%s failed", task.id, exc_info=error)
    return InferenceFailed(f"The model failed on this input: {type(error).__name__}: {error}")
