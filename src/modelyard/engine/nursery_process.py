"""Keeps one nursery running: has it forked from the standby, talks to it, has another forked when it dies, ends it.

Knows nothing of replicas; what its death means for them is told by a call.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from modelyard.engine.standby_process import RESTART_AFTER_S, STANDBY, BackOff, Standby, StandbyProcess
from modelyard.worker.nursery_messages import NurseryReady, Report, Spawn, read_report, to_line
from modelyard.worker.processes import describe_status

log = logging.getLogger(__name__)

END_GRACE_S = 2.0
TOLD_END_S = 1.0
"""How long the standby may take to say how a nursery ended whose socket has closed."""


class NurseryProcess:
    """One nursery at a time, another when it dies. All methods belong to one event loop's thread."""

    def __init__(
        self,
        on_report: Callable[[Report], None],
        on_death: Callable[[str], None],
        standby: Sequence[str] = STANDBY,
        *,
        restart_after_s: float = RESTART_AFTER_S,
    ) -> None:
        """`on_report` gets every report but NurseryReady; `on_death` is told how the nursery ended, once it has.

        `standby`: the program whose forks are nurseries. `restart_after_s` doubles with every death soon after a start.
        """
        self._on_report = on_report
        self._on_death = on_death
        self._standby = StandbyProcess(standby, restart_after_s)
        self._back_off = BackOff(restart_after_s)
        self._unsent: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self.pid: int | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes commands at once."""
        return self.pid is not None

    @property
    def standby_pid(self) -> int | None:
        """The process that the next nursery will be forked from, while there is one."""
        return self._standby.pid

    def start(self) -> None:
        """Starts the first nursery, soon."""
        self._standby.start()
        self._task = asyncio.create_task(self._run_forever(), name="nursery")

    async def close(self) -> None:
        """Ends the nursery, and with it whatever it has started. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._standby.close()

    def send(self, spawn: Spawn) -> None:
        """Sends a command; while there is no nursery it waits for the next one."""
        line = to_line(spawn)
        if self._writer is None:
            self._unsent.append(line)
        else:
            self._writer.write(line)

    async def _run_forever(self) -> None:
        while True:
            started = time.monotonic()
            try:
                end = await self._run_once(await self._standby.get())
            except OSError as error:
                end = f"the nursery cannot be started: {error}"
            except Exception:
                log.exception("the end of a nursery could not be dealt with")
                end = "the nursery was given up"
            delay_s = self._back_off.next_s(time.monotonic() - started)
            log.error("%s; starting another in %.2f s", end, delay_s)
            self._on_death(end)
            await asyncio.sleep(delay_s)

    async def _run_once(self, standby: Standby) -> str:
        """One nursery's life; returns how it ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            standby.fork_nursery(theirs)
        self._writer = writer
        try:
            for line in self._unsent:
                writer.write(line)
            self._unsent.clear()
            await self._read_reports(reader)
            return f"the nursery {await self._describe_end(standby)}"
        finally:
            pid, self._writer, self.pid = self.pid, None, None
            await hang_up(reader, writer, pid)
            if pid is not None:
                await wait_for_end(standby)  # a standby that ends before it has reaped leaves that to others

    async def _describe_end(self, standby: Standby) -> str:
        """How the nursery ended, as the standby tells; one that was never forked ended as the standby did."""
        status = await wait_for_end(standby)
        if status is not None:
            return describe_status(os.waitstatus_to_exitcode(status))
        return "ended" if self.ready else standby.describe_end()

    async def _read_reports(self, reader: asyncio.StreamReader) -> None:
        try:
            async for line in reader:
                match read_report(line):
                    case NurseryReady(pid):
                        log.info("nursery ready")
                        self.pid = pid
                    case report:
                        self._on_report(report)
        except ConnectionError as error:
            log.debug("the nursery's socket broke: %s", error)
        except Exception:  # a bug; a nursery that nobody listens to is of no use
            log.exception("the nursery said something that could not be handled")


async def wait_for_end(standby: Standby) -> int | None:
    """The wait status of the nursery it forked last; None: it has ended itself, or does not say in time."""
    try:
        async with asyncio.timeout(TOLD_END_S):
            return await asyncio.shield(standby.nursery_end)
    except TimeoutError:
        return None


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pid: int | None) -> None:
    """Ends a nursery, which ends its children and then itself when its owner hangs up; kills it if it does not.

    `pid` None: it has not been forked yet, and ends as soon as it is; it has no children.
    """
    try:
        if pid is not None and not writer.is_closing():  # a command that it did not live to read has closed it
            writer.write_eof()
            async with asyncio.timeout(END_GRACE_S):
                while await reader.read(65536):
                    continue
    except TimeoutError:
        kill_process(pid)
    except OSError as error:
        log.debug("the nursery's socket broke: %s", error)
    finally:
        writer.close()


def kill_process(pid: int | None) -> None:
    """Kills a process; one that is gone is no error."""
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
