"""Clients that do not read their answers: after a while their requests are cancelled, as if they had left.

Owns the set of answers under way, and looks at it every second. Loop thread only.
"""

from __future__ import annotations

import asyncio
import logging
import time

from modelyard.http.exchange import HttpExchange

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class SlowReaders:
    """Ends the exchanges of clients that let us wait."""

    def __init__(self, wait_s: float) -> None:
        """`wait_s`: how long a client may take for a piece of its answer."""
        self._wait_s = wait_s
        self._exchanges: set[HttpExchange] = set()

    def add(self, http: HttpExchange) -> None:
        """From now on looks at an exchange."""
        self._exchanges.add(http)

    def remove(self, http: HttpExchange) -> None:
        """Looks no longer."""
        self._exchanges.discard(http)

    async def look_forever(self) -> None:
        """Gives up on those who are over their time."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            too_old = time.monotonic() - self._wait_s
            for http in [each for each in self._exchanges if (each.sending_since or too_old) < too_old]:
                log.info("a client did not read its answer for %g s; its request is cancelled", self._wait_s)
                http.give_up()
