"""Keeps one nursery process running: starts it, talks to it, starts another when it dies, ends it.

Knows nothing of replicas; what its death means for them is told by a call.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence

from modelyard.worker.environment import worker_environment
from modelyard.worker.nursery_messages import NurseryReady, Report, Spawn, read_report, to_line
from modelyard.worker.processes import describe_status, end_process

log = logging.getLogger(__name__)

NURSERY = (sys.executable, "-P", "-m", "modelyard.worker.nursery")
RESTART_AFTER_S = 0.2
RESTART_AFTER_MAX_S = 30.0
STEADY_S = 60.0
"""A nursery that lived this long did not die of its start: the next death counts as the first."""
END_GRACE_S = 2.0


class NurseryProcess:
    """One nursery at a time, another when it dies. All methods belong to one event loop's thread."""

    def __init__(
        self,
        on_report: Callable[[Report], None],
        on_death: Callable[[str], None],
        command: Sequence[str] = NURSERY,
        *,
        restart_after_s: float = RESTART_AFTER_S,
    ) -> None:
        """`on_report` gets every report but NurseryReady; `on_death` is told how the nursery ended, once it has.

        `command`: the program; it gets the descriptor of its socket as one more argument. `restart_after_s` doubles
        with every death soon after a start.
        """
        self._on_report = on_report
        self._on_death = on_death
        self._command = command
        self._restart_after_s = restart_after_s
        self._unsent: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.ready = False
        self.pid: int | None = None

    def start(self) -> None:
        """Starts the first nursery, soon."""
        self._task = asyncio.create_task(self._run_forever(), name="nursery")

    async def close(self) -> None:
        """Ends the nursery, and with it whatever it has started. Idempotent."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def send(self, spawn: Spawn) -> None:
        """Sends a command; while there is no nursery it waits for the next one."""
        line = to_line(spawn)
        if self._writer is None:
            self._unsent.append(line)
        else:
            self._writer.write(line)

    async def _run_forever(self) -> None:
        quick_deaths = 0
        while True:
            started = time.monotonic()
            try:
                end = await self._run_once()
            except OSError as error:
                end = f"the nursery cannot be started: {error}"
            quick_deaths = 0 if time.monotonic() - started >= STEADY_S else quick_deaths + 1
            delay_s = min(RESTART_AFTER_MAX_S, self._restart_after_s * 2.0 ** min(quick_deaths, 10))
            log.error("%s; starting another in %.1f s", end, delay_s)
            self._on_death(end)
            await asyncio.sleep(delay_s)

    async def _run_once(self) -> str:
        """One nursery's life; returns how it ended."""
        ours, theirs = socket.socketpair()
        with theirs:
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
                raise
        self._writer, self.pid = writer, process.pid
        try:
            for line in self._unsent:
                writer.write(line)
            self._unsent.clear()
            await self._read_reports(reader)
        finally:
            # One that still imports would only notice when it is done; it has no children yet.
            grace_s = 0.0 if self._closing and not self.ready else END_GRACE_S
            self._writer, self.pid, self.ready = None, None, False
            writer.close()  # the nursery ends its children, then itself, when its owner's socket closes
            await end_process(process, grace_s)
        return f"the nursery {describe_status(process.returncode)}"

    async def _read_reports(self, reader: asyncio.StreamReader) -> None:
        try:
            async for line in reader:
                match read_report(line):
                    case NurseryReady(import_ms):
                        log.info("nursery ready after %d ms", import_ms)
                        self.ready = True
                    case report:
                        self._on_report(report)
        except ConnectionError as error:
            log.debug("the nursery's socket broke: %s", error)
        except Exception:  # a bug; a nursery that nobody listens to is of no use
            log.exception("the nursery said something that could not be handled")
