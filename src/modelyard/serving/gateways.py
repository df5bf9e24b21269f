"""The gateways of a server with several: a process each, which answers HTTP, and another one when it has died.

Owns their processes and their listening sockets, which outlive them: what waits there to be accepted when one dies is
accepted by the next. Linux only: there the kernel spreads connections over all sockets of one port.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

from modelyard.engine.standby_process import BackOff
from modelyard.errors import Unavailable
from modelyard.http.server import GRACEFUL_S
from modelyard.worker.processes import describe_status, end_process

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "modelyard.serving.gateway_process")
START_S = 120.0
"""How long the first ones may take to take requests: a second, on a machine that is busy more."""
RESTART_AFTER_S = 0.1
STEADY_S = 5.0
"""One that has taken requests for so long did not die of its start: the next comes at once. A start takes a second of
CPU time: one that dies again and again takes a fifth of a core."""
END_S = GRACEFUL_S + 2.0
"""What requests in progress may take once a gateway was told to stop, and a reserve."""


class Gateways:
    """All of one server's. Loop thread only."""

    def __init__(self, listeners: Sequence[socket.socket], orders: bytes) -> None:
        """`listeners`: one for each; `orders`: what each is told on its standard input."""
        self._listeners = listeners
        self._orders = orders
        self._serving = [asyncio.Event() for _ in listeners]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts all of them; returns when they take requests. Raises Unavailable."""
        self._tasks = [
            asyncio.create_task(self._keep(number), name=f"gateway {number}") for number in range(len(self._listeners))
        ]
        try:
            async with asyncio.timeout(START_S):
                await asyncio.gather(*(each.wait() for each in self._serving))
        except TimeoutError:
            raise Unavailable(f"The gateways do not take requests after {START_S:.0f} s.") from None

    async def close(self) -> None:
        """Has all of them finish their requests and end. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _keep(self, number: int) -> None:
        """One gateway after the other."""
        back_off = BackOff(RESTART_AFTER_S, STEADY_S)
        while True:
            process, served_at = await self._launch(number), math.inf
            try:
                assert process.stdout is not None  # noqa: S101 - asked for
                if await process.stdout.readline():  # it says so when it takes requests
                    served_at = time.monotonic()
                    self._serving[number].set()
                status = await process.wait()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    process.terminate()
                await end_process(process, END_S)
                raise
            wait_s = back_off.next_s(time.monotonic() - served_at)
            log.error("gateway %d %s; another one is started in %.1f s", number, describe_status(status), wait_s)
            await asyncio.sleep(wait_s)

    async def _launch(self, number: int) -> Process:
        descriptor = self._listeners[number].fileno()
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            str(descriptor),
            str(os.getpid()),
            str(number),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[descriptor],
            start_new_session=True,  # a Ctrl-C in the terminal is for the server, which then ends them
        )
        assert process.stdin is not None  # noqa: S101 - asked for
        process.stdin.write(self._orders)
        process.stdin.close()
        return process
