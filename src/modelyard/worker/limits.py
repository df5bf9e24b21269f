"""How much a worker may allocate. Owns the limit that the kernel keeps, and the words for what exceeds it: that is an
error, not a kill."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from modelyard.errors import InputTooLarge
from modelyard.units import GIB, MIB
from modelyard.worker.memory import data_bytes

log = logging.getLogger(__name__)

OUT_OF_MEMORY = (
    "allocate memory",
    "bad_alloc",
    "Available memory",
    "can't start new thread",
    "error return without exception set",
)
"""What torch, ONNX Runtime, the system and Python say of it, where they have no class of error for it. (A thread cannot
start where there is no room for its stack; the last is Python's where a function in C failed to allocate.)"""

LAST_WORDS_BYTES = 64 * MIB
"""What a process whose model has failed may allocate beyond its limit, to say so."""


ASKED = re.compile(r"allocate (?P<bytes>\d+) bytes")
"""In what torch says of it."""
WORDS = {
    "held_bytes": "its replica holds {}",
    "limit_bytes": "may hold {}",
    "asked_bytes": "and needed {} more at once",
}

HEADROOM_BYTES = GIB
"""What a worker may allocate beyond twice its reservation: one large request's, and buffers that are never touched."""
STACK_BYTES_PER_CORE = 16 * MIB
"""Libraries start up to two threads per core, whose stacks count whole. Source: pthread_create(3), 8 MiB each."""


def plan_memory_limit(reserved_bytes: int) -> int:
    """What a worker may allocate for which so much is reserved. More than that: the kernel counts what is reserved of
    it, touched or not, and an input may be larger than any before it."""
    return 2 * reserved_bytes + HEADROOM_BYTES + STACK_BYTES_PER_CORE * (os.cpu_count() or 1)


def says_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def input_too_large(error: BaseException, what: str, remedy: str = "") -> InputTooLarge:
    """What a client gets whose input there was no memory for, with the figures. `what`: what the model was doing.

    To be called when what the input took has been given back: the process then holds what it holds without it.
    """
    return no_memory_for(memory_figures(error), what, remedy)


def no_memory_for(figures: Mapping[str, int], what: str, remedy: str = "", cause: str | None = None) -> InputTooLarge:
    """The same for whoever has the figures, see WORDS. `cause`: what was used up: "limit", what the worker may
    allocate; "machine", all there was of its machine."""
    words = [WORDS[name].format(megabytes(count)) for name, count in figures.items()]
    if cause == "machine":
        words.append("and its machine had no more")
    told = f": {', '.join(words)}" if words else ""
    message = f"The model ran out of memory {what}{told}. {remedy}".rstrip()
    data: dict[str, Any] = {"out_of_memory": True, "cause": cause, **figures}
    return InputTooLarge(message, **data)


def memory_figures(error: BaseException | None = None) -> dict[str, Any]:
    """What is known of memory: what this process holds, may hold, and, by an error, asked for at once, in bytes."""
    figures: dict[str, int] = {}
    if (held := data_bytes()) is not None:
        figures["held_bytes"] = held
    if sys.platform == "linux":
        import resource  # not everywhere

        limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
        if limit != resource.RLIM_INFINITY:
            figures["limit_bytes"] = limit
    if (asked := ASKED.search(str(error or ""))) is not None:
        figures["asked_bytes"] = int(asked["bytes"])
    return figures


def megabytes(count: int) -> str:
    """Bytes for a person."""
    return f"{count / MIB:,.0f} MB"


def limit_memory(more_bytes: int) -> None:
    """Lets this process allocate so many bytes beyond what it has now. Beyond, allocations fail: MemoryError in Python,
    "can't allocate memory" from the frameworks.

    Counts private writable memory as it is reserved, touched or not: heap, buffers, thread stacks, and files mapped
    for copying on write, as torch maps weights. Does nothing where the kernel keeps no such limit.
    Source: getrlimit(2), RLIMIT_DATA (since Linux 4.7).
    """
    held = data_bytes()
    if sys.platform != "linux" or held is None:
        log.warning("this system cannot limit the memory of a process")
        return
    import resource  # not everywhere

    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + more_bytes
    # A hard limit too, else the model's own code could lift it.
    hard = wanted + LAST_WORDS_BYTES if most == resource.RLIM_INFINITY else min(wanted + LAST_WORDS_BYTES, most)
    resource.setrlimit(resource.RLIMIT_DATA, (min(wanted, hard), hard))


def lift_memory_limit() -> None:
    """Loosens `limit_memory`: a process whose model has failed needs some memory to say so."""
    if sys.platform == "linux":
        import resource  # not everywhere

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


@contextmanager
def memory_limited(more_bytes: int) -> Iterator[None]:
    """A block in which this process may allocate so much beyond what it has, or up to its limit where that is less."""
    held = data_bytes()
    if sys.platform != "linux" or held is None:
        yield
        return
    import resource  # not everywhere

    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = held + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most if before == resource.RLIM_INFINITY else min(most, before), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
