"""What the operating system is asked for processes: groups, the end of one, its descriptors for output and requests.

Knows nothing of replicas or models. A leaf: both sides of a fork, and the server that looks after them, use it.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from modelyard.private_files import FILE_MODE, ensure_private_folder

PR_SET_PDEATHSIG = 1  # Source: prctl(2)


def lead_group(pid: int) -> None:
    """Makes a fork the leader of its own process group. Both sides call it, so that neither can be too early."""
    try:
        os.setpgid(pid, pid)
    except ProcessLookupError:  # it has ended already
        return


def die_with_parent(parent_pid: int) -> None:
    """Asks the kernel to kill this process when its parent dies. Linux only."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # the parent died before the request took effect
        os._exit(1)


def kill_group(pid: int, number: int) -> None:
    """Signals the process group of a worker; one that is gone is no error."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def find_dead_child() -> int | None:
    """A child that has ended and waits to be reaped, or None."""
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return dead.si_pid if dead is not None else None


def exit_at_once(code: int) -> NoReturn:
    """Ends this process at once: neither a model's own threads nor its exit handlers may hold up the end."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def bind_privately(listener: socket.socket, path: str) -> None:
    """Binds a Unix socket that only this user may connect to."""
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen()


def bind_to_host(host: str) -> socket.socket:
    """A socket that listens on a free TCP port of that address of this machine. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.bind((host, 0))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """Where a bound socket takes connections: `unix:/path`, or `tcp://host:port`."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"tcp://{host}:{name[1]}"


def open_log(path: str | None) -> int:
    """A descriptor for a worker's output: its log, else this process's own standard error."""
    if path is None:
        return os.dup(2)
    ensure_private_folder(Path(path).parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # held by all that inherit it: their log is not removed
    return descriptor


async def end_process(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """Waits for a process that was told to end; kills it after `grace_s`."""
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
    except TimeoutError:
        # Not process.kill(): it may reap a process that has just ended, behind the back of asyncio's own watcher.
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


def describe_status(returncode: int | None) -> str:
    """How a process ended, from `Popen.returncode`."""
    if returncode is not None and returncode < 0:
        return f"was killed by {signal_name(-returncode)}"
    return f"exited with code {returncode}"


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
