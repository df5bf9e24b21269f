"""How a copy of what the store says is kept up to date: read again every few seconds, whoever changed it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from modelyard.errors import Unavailable

log = logging.getLogger(__name__)

READ_EVERY_S = 2.0
"""A change takes effect this much later at most, whichever process made it."""


async def read_forever(read: Callable[[], None], what: str) -> None:
    """Calls `read`, which blocks, on a thread every few seconds. While the database does not answer, what was
    known stays in force. `what`: what is read, for the log.
    """
    while True:
        await asyncio.sleep(READ_EVERY_S)
        try:
            await asyncio.to_thread(read)
        except Unavailable as error:
            log.warning("%s could not be read: %s", what, error)
        except Exception:  # a bug must not leave what is known as it is for ever
            log.exception("%s could not be read", what)
