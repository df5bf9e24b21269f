"""Keeps one standby process running, from which nurseries are forked: starts it, asks it, starts another when it dies.

Knows nothing of what nurseries do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.worker.environment import worker_environment
from modelyard.worker.nursery_messages import Exited, read_report
from modelyard.worker.processes import describe_status, end_process

log = logging.getLogger(__name__)

STANDBY = (sys.executable, "-P", "-m", "modelyard.worker.standby")
RESTART_AFTER_S = 0.02
RESTART_AFTER_MAX_S = 30.0
EXIT_S = 1.0
"""How long a standby whose socket has closed may take to exit; killed before, it could not say how it ended."""
STEADY_S = 60.0
"""A process that lived this long did not die of its start: the next death counts as the first."""


class BackOff:
    """How long to wait before a process that has died is started again: twice as long after every quick death."""

    def __init__(self, after_s: float, steady_s: float = STEADY_S) -> None:
        """`after_s`: the shortest wait; `steady_s`: see STEADY_S."""
        self._after_s = after_s
        self._steady_s = steady_s
        self._quick_deaths = 0

    def next_s(self, lived_s: float) -> float:
        """Seconds to wait now, after one that has lived for so long."""
        self._quick_deaths = 0 if lived_s >= self._steady_s else self._quick_deaths + 1
        return float(min(RESTART_AFTER_MAX_S, self._after_s * 2 ** min(self._quick_deaths, 11)))


@dataclass(eq=False, slots=True)
class Standby:
    """One standby. `nursery_end`: the wait status of the nursery it forked last; None when it died itself before."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: socket.socket
    nursery_end: asyncio.Future[int | None]

    def fork_nursery(self, theirs: socket.socket) -> None:
        """Has a nursery forked that talks by this socket. If the standby has just died, the socket closes."""
        self.nursery_end = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(self.connection, [b"\n"], [theirs.fileno()])
        except OSError as error:
            log.debug("the standby takes no more: %s", error)

    async def read_ends(self) -> None:
        """Returns when it has ended."""
        try:
            async for line in self.reader:
                match read_report(line):
                    case Exited(_, status):
                        self._note_end(status)
        except ConnectionError as error:
            log.debug("the standby's socket broke: %s", error)

    async def end(self, grace_s: float = 0.0) -> None:
        """Ends the process, which holds nothing that it would have to put in order. `grace_s`: what one that ends by
        itself may take."""
        self.writer.close()
        self.connection.close()
        await end_process(self.process, grace_s)
        self._note_end(None)

    def describe_end(self) -> str:
        """How it ended."""
        return describe_status(self.process.returncode)

    def _note_end(self, status: int | None) -> None:
        if not self.nursery_end.done():
            self.nursery_end.set_result(status)


class StandbyProcess:
    """One standby at a time, another when it dies. All methods belong to one event loop's thread."""

    def __init__(self, command: Sequence[str], restart_after_s: float) -> None:
        """`command`: the program; it gets the descriptor of its socket as one more argument."""
        self._command = command
        self._back_off = BackOff(restart_after_s)
        self._changed = asyncio.Event()
        self._failure: OSError | None = None
        self._task: asyncio.Task[None] | None = None
        self._current: Standby | None = None

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        return None if self._current is None else self._current.process.pid

    def start(self) -> None:
        """Starts the first one, soon."""
        self._task = asyncio.create_task(self._run_forever(), name="standby")

    async def close(self) -> None:
        """Ends it. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def get(self) -> Standby:
        """The one there is; waits for the next when there is none. Raises OSError when that could not be started."""
        while self._current is None:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            self._changed.clear()
            await self._changed.wait()
        return self._current

    async def _run_forever(self) -> None:
        while True:
            started = time.monotonic()
            try:
                end = await self._run_once()
            except OSError as error:
                end = f"cannot be started: {error}"
                self._failure = error
                self._changed.set()
            delay_s = self._back_off.next_s(time.monotonic() - started)
            log.warning("the standby of the nursery %s; starting another in %.2f s", end, delay_s)
            await asyncio.sleep(delay_s)

    async def _run_once(self) -> str:
        """One standby's life; returns how it ended."""
        standby = await self._open()
        self._current, self._failure = standby, None
        self._changed.set()
        grace_s = 0.0
        try:
            await standby.read_ends()
            grace_s = EXIT_S
        finally:
            self._current = None
            await standby.end(grace_s)
        return standby.describe_end()

    async def _open(self) -> Standby:
        """Starts the process. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            connection = ours.dup()  # the stream's own may not be used beside it
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    str(theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C in the terminal is for the server, which then ends its workers
                    env=worker_environment(os.environ),
                )
            except BaseException:
                writer.close()
                connection.close()
                raise
        return Standby(process, reader, writer, connection, asyncio.get_running_loop().create_future())
