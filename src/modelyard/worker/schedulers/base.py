"""What a life asks of whatever decides which calls run together, and when. Every scheduler offers this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from modelyard.errors import ModelyardError
from modelyard.protocol import Outcome, Work
from modelyard.tasks.base import Call, Task
from modelyard.tasks.maker import Loaded
from modelyard.worker.threads_by_work import ThreadsByWork

Deliver = Callable[[Outcome | ModelyardError], None]


def do_nothing() -> None:
    """Takes no notice of a call."""


def one_thread() -> ThreadsByWork:
    """The threads of a model that has one, and is told of no other."""
    return ThreadsByWork(1, lambda _count: None)


class Adapted(NamedTuple):
    """The model of a scheduler with an adapter beside its weights. `name`: tells it from all that there ever were."""

    name: str
    model: Loaded


class Scheduler(ABC):
    """Runs one task on one model, on the thread that calls `run`.

    Any thread may `submit`; answers are delivered on the model's thread or another that works for it, and on `close`'s
    for what never started.
    `max_batch`: how many calls it runs at once. `joins`: a call begins while others run.
    """

    task: Task
    max_batch: int
    joins: ClassVar[bool] = True

    @abstractmethod
    def submit(self, call: Call[Any, Any], deliver: Deliver, adapted: Adapted | None = None) -> None:
        """Queues `call`; `deliver` gets its outcome, or the ModelyardError it met, exactly once. `adapted`: who is to
        answer it; None: the model by itself.

        A call that was cancelled is answered as soon as its task sees it, though its batch go on.
        Raises ReplicaLost after `close`.
        """

    @abstractmethod
    def drop_cancelled(self) -> None:
        """Fails calls that were cancelled before they started, now and on the caller's thread."""

    @abstractmethod
    def poke(self) -> None:
        """Has new settings applied soon, also when no call comes."""

    @abstractmethod
    def describe_work(self) -> Work:
        """What was done so far. On any thread."""

    @abstractmethod
    def close(self) -> None:
        """Lets `run` return after what is in progress; what still waits fails with ReplicaLost, now. Idempotent."""

    @abstractmethod
    def run(self) -> None:
        """The model thread's loop; returns after `close`. What ends it otherwise is raised, with every call answered
        that it had begun."""
