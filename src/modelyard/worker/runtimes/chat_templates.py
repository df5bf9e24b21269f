"""Limits of chat templates: programs that came with a model's files, and that may loop, repeat and grow as they like.

Owns what one of them may take. Only Python code is interrupted: a single operation that takes for ever ends with its
request's deadline, and its replica with it. Imports no model library.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from modelyard.units import MIB
from modelyard.worker.limits import memory_limited

MOST_S = 5.0
"""A long conversation takes a hundredth of a second."""
MOST_BYTES = 256 * MIB
"""What a template may allocate, its prompt included."""
MOST_CHARACTERS = 16 * MIB
"""More than the longest contexts hold: a million tokens are about five million characters."""


class TemplateTooSlow(Exception):
    """Raised in the thread of a template whose time is over."""

    def __str__(self) -> str:
        return f"it ran for more than {MOST_S:g} s"


class TemplateTooLarge(Exception):
    """A template wanted too much memory, or wrote too long a prompt."""


def limit_template(holder: Any) -> None:
    """From now on `apply_chat_template` of a tokenizer or processor raises TemplateTooSlow and TemplateTooLarge."""
    render = holder.apply_chat_template

    @wraps(render)
    def render_within_limits(*arguments: Any, **named: Any) -> Any:
        try:
            with _watch.time_limited(MOST_S), memory_limited(MOST_BYTES):
                made = render(*arguments, **named)
        except MemoryError:
            raise TemplateTooLarge(f"it wants more memory than it may have, at most {MOST_BYTES // MIB} MiB") from None
        if isinstance(made, str) and len(made) > MOST_CHARACTERS:
            raise TemplateTooLarge(f"it made {len(made)} characters of them, more than {MOST_CHARACTERS}")
        return made

    holder.apply_chat_template = render_within_limits


class Watch:
    """Ends what runs for too long on another thread; one thing at a time. Its own thread begins with its first use, and
    is woken once in a while, not by everything that is watched."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._end: float | None = None
        self._watched = 0
        self._thread: threading.Thread | None = None
        self._idle = False

    @contextmanager
    def time_limited(self, seconds: float) -> Iterator[None]:
        """Raises TemplateTooSlow in this thread when the block takes longer."""
        with self._changed:
            self._watched, self._end = threading.get_ident(), time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="templates", daemon=True)
                self._thread.start()
            elif self._idle:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._end = None
                raise_in_thread(self._watched, None)

    def _run(self) -> None:
        with self._changed:
            while True:
                if self._end is None:
                    self._idle = True
                    self._changed.wait()
                    self._idle = False
                elif (left_s := self._end - time.monotonic()) > 0:
                    self._changed.wait(left_s)
                else:
                    self._end = None
                    raise_in_thread(self._watched, TemplateTooSlow)


def raise_in_thread(thread_id: int, error: type[Exception] | None) -> None:
    """Has a thread raise `error` before its next step in Python; None: takes back what it has not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), error and ctypes.py_object(error))


_watch = Watch()
