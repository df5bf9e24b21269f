"""Requests to providers as the frame server hands them over: each a task of the event loop, with its own deadline.

Owns trying again: after 429, 5xx and broken connections, when the provider says or a little later each time, never once
a piece of the answer has been sent. Knows no library.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from modelyard.errors import (
    DeadlineExceeded,
    InferenceFailed,
    ModelyardError,
    ProviderBusy,
    ProviderFailed,
    ReplicaLost,
)
from modelyard.protocol import Outcome, Work
from modelyard.providers.asked import ASK, Asked
from modelyard.tasks.base import Call
from modelyard.worker.schedulers.base import Adapted, Deliver, Scheduler

log = logging.getLogger(__name__)

MOST_AT_ONCE = 4096
MOST_TRIES = 4
FIRST_WAIT_S = 0.5
"""Before the second try, where the provider does not say; twice as long before each further one."""
LONGEST_WAIT_S = 30.0
"""A provider that asks for more is not waited for: the client is told how long."""

Emit = Callable[[str], None]
Ask = Callable[[Asked, Emit | None], Awaitable[Outcome]]
"""Asks a provider once. Raises ModelyardError, of which ProviderBusy and ProviderFailed are worth another try."""


class ProviderCalls(Scheduler):
    """Runs every call at once, on the loop's thread."""

    task = ASK
    max_batch = MOST_AT_ONCE

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._running: dict[asyncio.Task[None], Call[Asked, Any]] = {}
        self._closed = False

    def submit(self, call: Call[Asked, Any], deliver: Deliver, adapted: Adapted | None = None) -> None:
        """See Scheduler. Loop thread only."""
        if self._closed:
            raise ReplicaLost()
        task = asyncio.create_task(self._answer(call, deliver), name="provider request")
        self._running[task] = call
        task.add_done_callback(self._running.pop)

    def drop_cancelled(self) -> None:
        """See Scheduler: those that have started end too."""
        for task, call in self._running.items():
            if call.cancelled():
                task.cancel()

    def poke(self) -> None:
        """Nothing can be set."""

    def describe_work(self) -> Work:
        """See Scheduler: nothing is computed here."""
        return Work()

    def close(self) -> None:
        """See Scheduler."""
        self._closed = True
        for task in self._running:
            task.cancel()

    def run(self) -> None:
        """There is no thread of a model."""

    async def _answer(self, call: Call[Asked, Any], deliver: Deliver) -> None:
        try:
            deliver(await try_again(self._ask, call.inputs, call.emit))
        except ModelyardError as error:
            deliver(error)
        except asyncio.CancelledError:
            deliver(ReplicaLost("The request was cancelled."))
            raise
        except Exception as error:  # noqa: BLE001 - the library raises what it likes; its words may hold the key
            log.error("a request to %s failed: %s", call.inputs.provider, type(error).__name__)  # noqa: TRY400
            deliver(InferenceFailed(f"The answer of {call.inputs.provider} could not be read."))


async def try_again(ask: Ask, asked: Asked, emit: Emit | None) -> Outcome:
    """Asks until there is an answer, an error that a try does not mend, or no time left. Raises ModelyardError."""
    ends_at = time.monotonic() + asked.within_s
    started = False

    def pass_on(text: str) -> None:
        nonlocal started
        if emit is not None and text:
            started = True
            emit(text)

    tries = 0
    while True:
        tries += 1
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + ends_at - time.monotonic()):
                return await ask(asked, None if emit is None else pass_on)
        except TimeoutError:
            words = f"{asked.provider} has not answered within the {asked.within_s:.1f} s that were left."
            raise DeadlineExceeded(words) from None
        except (ProviderBusy, ProviderFailed) as error:
            wait_s = error.data.get("retry_after_s") if error.data.get("says_when") else None
            wait_s = FIRST_WAIT_S * 2 ** (tries - 1) * random.uniform(0.8, 1.2) if wait_s is None else wait_s  # noqa: S311
            left_s = ends_at - time.monotonic()
            if started or tries == MOST_TRIES or wait_s > min(left_s, LONGEST_WAIT_S):
                raise
            await asyncio.sleep(wait_s)
