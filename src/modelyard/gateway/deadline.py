"""How long one request may take in all, from its arrival on, and what its client is told when that time is over.

Owns the clocks of requests and the reading of what a client asks for. Answers nothing itself.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from modelyard.errors import DeadlineExceeded, InvalidRequest
from modelyard.http.exchange import HttpExchange

HEADER = "x-request-timeout"
HEADER_NAME = HEADER.encode()
FIELD = "timeout"
ACCEPTED = "a number of seconds above 0"

OnOver = Callable[[DeadlineExceeded], Awaitable[None]]


class Deadlines:
    """The requests that may take as long as any may. They end in the order in which they began, so that one timer does
    for all: one for each would cost every request a place in the loop's heap."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._open: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, on_over: OnOver) -> Deadline:
        """The deadline of a request that has just come."""
        return Deadline(self, on_over)

    def add(self, deadline: Deadline) -> None:
        """Watches a deadline that has the usual time."""
        self._open[deadline] = None
        if self._timer is None:
            self._set_timer(deadline)

    def remove(self, deadline: Deadline) -> None:
        """Watches it no longer. Idempotent."""
        self._open.pop(deadline, None)

    def _set_timer(self, first: Deadline) -> None:
        self._timer = set_timer(first, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        for deadline in list(self._open):
            if deadline.ends_at > now:
                return self._set_timer(deadline)
            del self._open[deadline]
            deadline.end()
        return None


class Deadline:
    """A context whose body is cancelled when the time is over, and which then raises DeadlineExceeded.

    The client is told in that moment, by a task of its own: the body may have to wait for its replica to let go.
    """

    __slots__ = ("_on_over", "_replica_at", "_telling", "_timeout_s", "_timer", "_usual", "_worker", "began")

    def __init__(self, usual: Deadlines, on_over: OnOver) -> None:
        """The time begins now. `on_over`: tells the client."""
        self._usual = usual
        self.began = time.monotonic()
        self._timeout_s = usual.timeout_s
        self._on_over = on_over
        self._timer: asyncio.TimerHandle | None = None
        self._worker: asyncio.Task[Any] | None = None
        self._telling: asyncio.Future[None] | None = None
        self._replica_at: float | None = None

    @property
    def ends_at(self) -> float:
        """In monotonic seconds."""
        return self.began + self._timeout_s

    def shorten(self, timeout_s: float | None) -> None:
        """At most so long in all; None: as long as before."""
        if timeout_s is not None and timeout_s < self._timeout_s:
            self.stop()
            self._timeout_s = timeout_s
            self._timer = set_timer(self, self.end)

    def found_replica(self, at: float) -> None:
        """From that moment on, in monotonic seconds, a replica works on it."""
        self._replica_at = at

    def stop(self) -> None:
        """It was done in time."""
        self._usual.remove(self)
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """The time is over."""
        if self._worker is not None and self._telling is None:
            self._telling = asyncio.ensure_future(self._on_over(self._error()))
            self._worker.cancel()

    def _error(self) -> DeadlineExceeded:
        now = time.monotonic()
        waited_s = (self._replica_at or now) - self.began
        worked_s = now - self.began - waited_s
        return DeadlineExceeded(
            f"The request was not done within the {self._timeout_s:g} s it may take: {waited_s:.1f} s passed before a "
            f"replica had it, {worked_s:.1f} s since.",
            cause="waiting" if self._replica_at is None else "request",
            timeout_s=self._timeout_s,
            waited_s=waited_s,
            worked_s=worked_s,
        )

    async def __aenter__(self) -> Self:
        self._worker = asyncio.current_task()
        self._usual.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._telling is None or self._worker is None:
            return
        still_cancelled = self._worker.uncancel()
        await asyncio.wait({self._telling})
        if error is not None and not still_cancelled:
            raise self._error() from None


def set_timer(deadline: Deadline, function: Callable[[], None]) -> asyncio.TimerHandle:
    """Calls `function` when a deadline's time is over."""
    return asyncio.get_running_loop().call_later(deadline.ends_at - time.monotonic(), function)


def find_timeout_s(http: HttpExchange) -> float | None:
    """What the request's header allows it; None when it has none. Raises InvalidRequest."""
    text = http.header(HEADER_NAME)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        raise InvalidRequest(field=HEADER, got=text, accepted=ACCEPTED) from None
    return check_timeout_s(seconds, HEADER)


def find_body_timeout_s(body: Mapping[str, Any]) -> float | None:
    """What the request's body allows it; None when it does not say. Raises InvalidRequest."""
    given = body.get(FIELD)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise InvalidRequest(field=FIELD, got=given, accepted=ACCEPTED)
    return check_timeout_s(given, FIELD)


def check_timeout_s(seconds: float, field: str) -> float:
    """The same. Raises InvalidRequest unless it is above 0; not a number is not."""
    if not seconds > 0 or math.isnan(seconds):
        raise InvalidRequest(field=field, got=seconds, accepted=ACCEPTED)
    return seconds
