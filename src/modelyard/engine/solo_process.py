"""The process that serves one model alone, from the outside: started, told what to load, looked after, ended.

Owns that process and its folder. Lines of its log are passed on as a replica's are. Finds no model: who calls it does,
and has the rights that this takes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from modelyard.config import TEXT
from modelyard.engine.excess import find_excess
from modelyard.engine.replica_log import ReplicaLog
from modelyard.engine.rundir import RunDir
from modelyard.errors import BootFailed
from modelyard.http.server import GRACEFUL_S
from modelyard.protocol import Logged
from modelyard.records.replicas import ReplicaSpec
from modelyard.wire import BrokenStream
from modelyard.worker.environment import worker_environment
from modelyard.worker.processes import describe_status, end_process, kill_group
from modelyard.worker.solo import SoloReport

PROGRAM = (sys.executable, "-P", "-m", "modelyard.worker.solo")
LINE_BYTES = 64 * 1024
MOST_REPORTS = 3
"""It listens, it is ready, it has failed; beside lines of its log."""
LOOK_EVERY_S = 10.0
"""How often what the kernel keeps no limit of is looked at, as with replicas."""
END_S = 2.0 * GRACEFUL_S

Prepare = Callable[[], Awaitable[ReplicaSpec]]
"""Gets the model's files onto this machine and says how to load them. Raises ModelyardError."""


async def serve_alone(
    prepare: Prepare,
    listener: socket.socket,
    on_listening: Callable[[], None],
    on_ready: Callable[[ReplicaSpec], None],
    log_level: str = "INFO",
    log_format: str = TEXT,
) -> None:
    """Has a process serve what `prepare` says on the bound `listener`, until this is cancelled or the process ends.

    Raises what `prepare` does, the error that kept the model from starting or ended it, and BootFailed for other ends.
    """
    run_dir = RunDir()
    scratch = run_dir.path / "files"
    process = await start(listener, log_level, log_format)
    try:
        await read_report(process)
        on_listening()
        spec = replace(await prepare(), scratch=str(scratch))
        assert process.stdin is not None  # noqa: S101 - asked for
        process.stdin.write(msgspec.json.encode(spec))
        process.stdin.close()
        await follow(process, spec, scratch, on_ready)
    finally:
        if process.returncode is None:
            kill_group(process.pid, signal.SIGTERM)
            await end_process(process, END_S)
        await asyncio.to_thread(run_dir.close)


async def start(listener: socket.socket, log_level: str, log_format: str) -> Process:
    """Starts the process, which has of this one's environment what its libraries need."""
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        str(listener.fileno()),
        log_level,
        log_format,
        stdin=PIPE,
        stdout=PIPE,
        limit=LINE_BYTES,
        pass_fds=[listener.fileno()],
        env=worker_environment(os.environ),
        process_group=0,
    )


async def follow(process: Process, spec: ReplicaSpec, scratch: Path, on_ready: Callable[[ReplicaSpec], None]) -> None:
    """Returns when the process has ended in order; see `serve_alone`."""
    reading = asyncio.create_task(take_reports(process, spec, on_ready), name="reports of the worker")
    try:
        while not (await asyncio.wait({reading}, timeout=LOOK_EVERY_S))[0]:
            await check_excess(process, spec, scratch)
        reading.result()
    finally:
        reading.cancel()
    if code := await process.wait():
        raise BootFailed(f"The worker of {spec.model_id} {describe_status(code)}.")


async def take_reports(process: Process, spec: ReplicaSpec, on_ready: Callable[[ReplicaSpec], None]) -> None:
    """Takes them to the last one. Raises the error that one tells of, and BootFailed for what no worker writes."""
    log, left = ReplicaLog(spec.replica_id), MOST_REPORTS
    while left and (report := await read_report(process)) is not None:
        if report.logged is not None:
            take_line(log, report.logged, spec)
            continue
        left -= 1
        if report.failed is not None:
            raise report.failed.error()
        if report.ready:
            on_ready(spec)


def take_line(log: ReplicaLog, line: Logged, spec: ReplicaSpec) -> None:
    """Passes one on. Raises BootFailed when more come than a worker sends."""
    try:
        log.take(line, None)
    except BrokenStream as error:
        raise BootFailed(f"The worker of {spec.model_id} was ended: it wrote {error}.") from error


async def check_excess(process: Process, spec: ReplicaSpec, scratch: Path) -> None:
    """Raises BootFailed when the process has taken too much of what the kernel does not limit."""
    if spec.sandbox != "off" and (excess := await asyncio.to_thread(find_excess, process.pid, scratch)) is not None:
        raise BootFailed(f"The worker of {spec.model_id} was ended: {excess}.")


async def read_report(process: Process) -> SoloReport | None:
    """The next report; None when there will be none. Raises BootFailed for what is none."""
    assert process.stdout is not None  # noqa: S101 - asked for
    try:
        line = await process.stdout.readline()
        return msgspec.json.decode(line, type=SoloReport) if line else None
    except (ValueError, msgspec.MsgspecError) as error:
        raise BootFailed(f"The worker wrote what makes no sense: {error}") from error
