"""How much a worker may allocate. Owns the limit that the kernel keeps; what exceeds it gets an error, not a kill."""

from __future__ import annotations

import logging
import sys

from modelyard.worker.memory import data_bytes

log = logging.getLogger(__name__)

OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "Available memory", "can't start new thread")
"""What torch, ONNX Runtime, the system and Python say of it, where they have no class of error for it. (A thread cannot
start where there is no room for its stack.)"""

LAST_WORDS_BYTES = 64 * 1024**2
"""What a process whose model has failed may allocate beyond its limit, to say so."""


def says_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


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
