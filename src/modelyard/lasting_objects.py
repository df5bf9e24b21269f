"""What thousands of replicas leave in a process for as long as they run. Owns how often Python looks through it for
garbage, not what it is."""

from __future__ import annotations

import asyncio
import gc

REPLICAS_PUT_BY = 50
"""As many leave some 2,500 objects that stay: a collection takes half a millisecond for them."""


class LastingObjects:
    """Looked through once, then never again: all there are, of ten thousand replicas, hold everything up for 100 ms.

    Of what requests under way are made the same is true: a cycle of it that is garbage later stays for ever. Hence not
    after a number of objects, which requests make too, but of replicas.
    """

    def __init__(self) -> None:
        self._new = 0

    def note_ready(self) -> None:
        """One more replica is ready. Once there are `REPLICAS_PUT_BY`, all that is new in the process is put by, in a
        turn of the loop of its own. Loop thread only."""
        self._new += 1
        if self._new == REPLICAS_PUT_BY:
            self._new = 0
            asyncio.get_running_loop().call_soon(put_by)


def put_by() -> None:
    """Collects garbage among all that is not put by yet; the rest is, from now on."""
    gc.collect()
    gc.freeze()
