"""Lines of a worker's log, as frames for the servers that want them.

Owns which request the running thread or task works on alone, and how many lines there may be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from modelyard.protocol import Logged

P = ParamSpec("P")
T = TypeVar("T")

MOST_PER_S = 20
"""Of a worker; more are in the file that it writes to, and nowhere else."""
MOST_CHARACTERS = 4000
"""Of a text, and of the end of what is told of an exception."""

current_call: ContextVar[object | None] = ContextVar("current_call", default=None)
"""What tells the request that is worked on from others; None: there is none, or there are several."""


def work_on(call: object | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns; what it logs is about `call`."""
    if call is None:
        return work(*args, **kwargs)
    before = current_call.set(call)
    try:
        return work(*args, **kwargs)
    finally:
        current_call.reset(before)


class SentLog(logging.Handler):
    """Has each line of the log sent too, unless too many come at once."""

    def __init__(self, send: Callable[[Logged, object | None], None]) -> None:
        """`send`: takes a line and what it is about; of any thread."""
        super().__init__()
        self._send = send
        self._second = self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record; in the thread and task that made it."""
        if int(record.created) != self._second:
            self._second, self._count = int(record.created), 0
        self._count += 1
        if self._count > MOST_PER_S:
            return
        try:
            self._send(line_of(record), current_call.get())
        except Exception:  # noqa: BLE001 - of whoever logs: the library's own handlers do the same
            self.handleError(record)


def line_of(record: logging.LogRecord) -> Logged:
    """What a record of the library says."""
    exception = ""
    if record.exc_info and record.exc_info[0] is not None:
        exception = sendable(logging.Formatter().formatException(record.exc_info))[-MOST_CHARACTERS:]
    message = sendable(record.getMessage())[:MOST_CHARACTERS]
    return Logged(0, int(record.created * 1e9), record.levelno, record.name, message, exception)


def sendable(text: str) -> str:
    """The text without halves of characters, which no frame carries."""
    return text.encode("utf-8", "replace").decode("utf-8")
