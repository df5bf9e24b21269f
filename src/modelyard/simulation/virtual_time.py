"""Time that passes only where everybody waits: an event loop that jumps to the next moment at which anything happens.

Owns the loop, and the clock that reads it. What runs on it cannot tell, and needs no change.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = datetime(2026, 1, 5, tzinfo=UTC)
"""What the wall clock shows at second 0: a Monday's midnight."""


class JumpingSelector(selectors.SelectSelector):
    """Waits for no file: the time that it is told to wait is over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Moves the time on. Raises RuntimeError when nothing will ever happen any more."""
        if timeout is None:
            raise RuntimeError("everything waits for something else in the simulation")
        if timeout > 0:
            self.now_s += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs coroutines, timers and deadlines as any loop does. What would go to a thread is done at once: in virtual
    time it takes none, and the order of all that happens is the same in each run."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._jumping.now_s

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Calls it now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - told by whoever awaits it
            future.set_exception(error)
        return future


class VirtualClock:
    """The clock of what runs on such a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end, however long it waits."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
