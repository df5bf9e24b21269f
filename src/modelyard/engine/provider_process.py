"""Keeps the process that asks providers: started when the first request needs it, another when it has died, ended when
nobody has asked for a while.

Owns that process, its socket and the link to it. Knows nothing of providers or keys.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from modelyard.engine.link import Link
from modelyard.engine.rundir import RunDir
from modelyard.engine.standby_process import BackOff
from modelyard.errors import CannotAskProviders, ReplicaLost
from modelyard.protocol import Failed, Ready, Status
from modelyard.worker.environment import worker_environment
from modelyard.worker.processes import bind_privately, describe_status, end_process

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "modelyard.providers.server")
START_S = 60.0
"""How long it may take to import its library: seconds, on a machine that is busy more."""
END_S = 5.0
IDLE_S = 600.0
"""How long nobody may have asked before it is ended."""
RESTART_AFTER_S = 0.1
NETWORK_SETTINGS = frozenset(
    name
    for each in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
    for name in (each, each.lower())
)
"""What of the server's environment says how others are reached."""


@dataclass(eq=False, slots=True)
class Running:
    """One process that takes requests."""

    process: Process
    link: Link
    started_at: float


class ProviderProcess:
    """One process at a time. All methods belong to one event loop's thread."""

    def __init__(self, program: Sequence[str] = PROGRAM, *, idle_s: float = IDLE_S) -> None:
        """`program`: gets the descriptor of its socket and this process's id as arguments."""
        self._program = program
        self._idle_s = idle_s
        self._back_off = BackOff(RESTART_AFTER_S)
        self._not_before = 0.0
        self._run_dir: RunDir | None = None
        self._started = 0
        self._process: asyncio.Task[Running] | None = None
        self._users = 0
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """The process, while there is one that takes requests."""
        running = self._find()
        return None if running is None else running.process.pid

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """The link to a process that takes requests; while it is used the process is not ended for being idle.

        Cancelling it does not keep the process from starting, for the next request. Raises CannotAskProviders when it
        cannot be started.
        """
        self._users += 1
        if self._idle is not None:
            self._idle.cancel()
        try:
            if self._find() is None and (self._process is None or self._process.done()):
                self._process = asyncio.create_task(self._replace(self._process), name="provider process")
            assert self._process is not None  # noqa: S101 - it is there, or has just been made
            yield (await asyncio.shield(self._process)).link
        finally:
            self._users -= 1
            if not self._users:
                self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)

    async def close(self) -> None:
        """Ends the process; requests on it get ReplicaLost. Idempotent."""
        if self._idle is not None:
            self._idle.cancel()
        self._begin_end()
        if self._ending:
            await asyncio.wait(self._ending)
        if self._run_dir is not None:
            await asyncio.to_thread(self._run_dir.close)
            self._run_dir = None

    def _find(self) -> Running | None:
        """The process that takes requests."""
        running = result_of(self._process)
        return None if running is None or running.link.closed else running

    def _end_idle(self) -> None:
        if not self._users:
            self._begin_end()

    def _begin_end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            task = asyncio.create_task(self._end(process), name="end of the provider process")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, process: asyncio.Task[Running]) -> None:
        """Ends what a task has started, or is starting."""
        if not process.done():
            process.cancel()
            await asyncio.wait({process})
        running = result_of(process)
        if running is None:
            return
        died = running.link.closed
        await running.link.close()
        with suppress(ProcessLookupError):
            running.process.terminate()
        await end_process(running.process, END_S)
        if died:
            self._note_death(running.started_at)
            log.error("the process that asks providers %s", describe_status(running.process.returncode))

    def _note_death(self, started_at: float) -> None:
        now = time.monotonic()
        self._not_before = now + self._back_off.next_s(now - started_at)

    async def _replace(self, previous: asyncio.Task[Running] | None) -> Running:
        if previous is not None:
            await self._end(previous)
        await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
        return await self._start()

    async def _start(self) -> Running:
        if self._run_dir is None:
            self._run_dir = await asyncio.to_thread(RunDir)
        self._started += 1
        path = str(self._run_dir.path / f"providers-{self._started}")
        secret = secrets.token_hex(16)
        started_at = time.monotonic()
        with socket.socket(socket.AF_UNIX) as listener:
            bind_privately(listener, path)
            process = await asyncio.create_subprocess_exec(
                *self._program,
                str(listener.fileno()),
                str(os.getpid()),
                stdin=PIPE,
                stdout=DEVNULL,
                pass_fds=[listener.fileno()],
                env=environment(),
                start_new_session=True,  # a Ctrl-C in the terminal is for the server, which then ends it
            )
        try:
            assert process.stdin is not None  # noqa: S101 - asked for
            process.stdin.write(f"{secret}\n".encode())
            process.stdin.close()
            link = await connect(f"unix:{path}", secret)
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            self._note_death(started_at)
            raise
        return Running(process, link, started_at)


def result_of(process: asyncio.Task[Running] | None) -> Running | None:
    """What a task has started; None where it has not, or not yet."""
    if process is None or not process.done() or process.cancelled() or process.exception() is not None:
        return None
    return process.result()


async def connect(address: str, secret: str) -> Link:
    """A link to the process, once it takes requests. Raises CannotAskProviders."""
    told: asyncio.Future[Status] = asyncio.get_running_loop().create_future()

    def take(status: Status) -> None:
        if isinstance(status, Ready | Failed) and not told.done():
            told.set_result(status)

    try:
        link = await Link.connect(address, secret, take, START_S)
    except ReplicaLost as error:
        raise could_not_start(str(error)) from None
    closed = asyncio.ensure_future(link.wait_closed(START_S))
    try:
        waiting: list[asyncio.Future[Any]] = [told, closed]
        await asyncio.wait(waiting, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        status = told.result() if told.done() else None
        if isinstance(status, Ready):
            return link
        await link.close()
        raise could_not_start(status.reason if isinstance(status, Failed) else "it does not say why")
    except asyncio.CancelledError:
        await link.close()
        raise
    finally:
        closed.cancel()


def could_not_start(why: str) -> CannotAskProviders:
    """The error for a process that does not start."""
    return CannotAskProviders("This server cannot ask providers now.", detail=f"Its process did not start: {why}")


def environment() -> dict[str, str]:
    """What the process sees of the server's: as workers, and how others are reached."""
    network = {name: value for name, value in os.environ.items() if name in NETWORK_SETTINGS}
    return {**worker_environment(os.environ), **network}
