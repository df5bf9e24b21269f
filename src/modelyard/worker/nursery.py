"""The process that imports the model libraries once and forks replicas from there, so that a boot costs milliseconds.

Single-threaded; runs no tensor operation and opens no device: a fork of a process that has done either hangs or
breaks. Talks to its owner in lines of JSON over an inherited socket; when that closes, everything it started dies.

Owner → nursery:  {"spawn": <ReplicaSpec>, "socket": "/path"}
Nursery → owner:  {"ready": <ms>}   {"started": "<replica id>", "pid": 123, "socket": "/path"}
                  {"refused": "<replica id>", "reason": "..."}   {"exited": 123, "status": <wait status>}

Models that need no torch are forked by its annex: a second nursery, the first one's child, whose owner the first is.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.annex import Annex

PR_SET_PDEATHSIG = 1  # Source: prctl(2)
CAN_FORK = sys.platform == "linux"
"""Elsewhere system libraries start threads behind one's back and a forked child may hang: start fresh processes."""
PRELOAD = ("modelyard.worker.boot", "modelyard.worker.runtimes.preload")
PRELOAD_OF_ANNEX = ("modelyard.worker.boot", "modelyard.worker.runtimes.preload_without_torch")
ANNEX = (sys.executable, "-m", "modelyard.worker.nursery", "--annex")
QUIET_LIBRARIES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
"""Environment that keeps the native libraries from starting threads at import (workers raise their count later), from
spinning while they wait (on a machine with other work a spinning thread makes an operation ten times slower), and from
opening connections."""

Serve = Callable[[ReplicaSpec, socket.socket], int]
"""A worker's whole life in a fork: serves on the socket, returns the exit code."""


class Nursery:
    """The loop: commands from the owner, deaths of children."""

    def __init__(self, owner: socket.socket, serve: Serve | None, annex: Annex | None = None) -> None:
        """`serve` runs in each fork; None: workers are fresh processes. `annex`: where some are forked instead."""
        self._owner = owner
        self._serve = serve
        self._annex = annex
        self._children: set[int] = set()
        self._buffer = b""
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serves until the owner's socket closes, then kills every child's process group."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._selector.register(self._owner, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        alive = True
        while alive:
            for key, _ in self._selector.select():
                if key.fileobj is self._owner:
                    alive = self._read_commands()
                elif key.fileobj is self._wake_read:
                    self._reap()
                else:
                    self._hear_annex()
        for pid in self._children:
            kill_group(pid, signal.SIGKILL)
        if self._annex is not None:
            self._annex.close()

    def tell(self, **message: Any) -> None:
        """Sends one line to the owner."""
        try:
            self._owner.sendall(msgspec.json.encode(message) + b"\n")
        except OSError:  # the owner is gone; the closed socket ends the loop
            return

    def _read_commands(self) -> bool:
        """False when the owner has closed its end."""
        try:
            data = self._owner.recv(65536)
        except ConnectionError:
            return False
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            command = msgspec.json.decode(line)
            spec = msgspec.convert(command["spawn"], ReplicaSpec)
            if self._annex is not None and self._annex.takes(spec):
                self._ask_annex(self._annex, spec, line)
            else:
                self._spawn(spec, command["socket"])
        return True

    def _ask_annex(self, annex: Annex, spec: ReplicaSpec, line: bytes) -> None:
        try:
            if annex.socket is None:
                self._selector.register(annex.open(), selectors.EVENT_READ)
        except OSError as error:
            self.tell(refused=spec.replica_id, reason=f"cannot start a process: {error}")
        else:
            annex.send(spec.replica_id, line)

    def _hear_annex(self) -> None:
        """Passes on what the annex says, and on its end what that means for its workers."""
        assert self._annex is not None  # noqa: S101 - nothing else is registered
        heard = self._annex.socket
        for message in self._annex.receive():
            self.tell(**message)
        if self._annex.socket is None:
            self._selector.unregister(heard)  # type: ignore[arg-type]  # it was open before
            heard.close()  # type: ignore[union-attr]

    def _spawn(self, spec: ReplicaSpec, path: str) -> None:
        with ExitStack() as held:  # the worker gets copies
            try:
                # Bound before the worker exists, so that its owner can connect at once, with nothing to poll for.
                listener = held.enter_context(socket.socket(socket.AF_UNIX))
                listen(listener, path)
                output = open_log(spec.log_path)
                held.callback(os.close, output)
                pid = self._fork(spec, listener, output) if self._serve else start_fresh(spec, listener, output)
            except OSError as error:
                self.tell(refused=spec.replica_id, reason=f"cannot start a process: {error}")
                return
        self._children.add(pid)
        self.tell(started=spec.replica_id, pid=pid, socket=path)

    def _fork(self, spec: ReplicaSpec, listener: socket.socket, output: int) -> int:
        assert self._serve is not None  # noqa: S101
        nursery_pid = os.getpid()
        pid = os.fork()
        if pid:
            lead_group(pid)
            return pid
        code = 1
        try:
            lead_group(0)
            die_with_parent(nursery_pid)
            self._leave(output)
            code = self._serve(spec, listener)
        except BaseException as error:  # noqa: BLE001 - a fork must never return into the nursery's loop
            sys.stderr.write(f"worker ended: {type(error).__name__}: {error}\n")
        finally:
            exit_at_once(code)

    def _leave(self, output: int) -> None:
        """Cuts the fork loose from the nursery: own signals, own output, none of the nursery's descriptors."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._selector.close()
        self._owner.close()
        if self._annex is not None:
            self._annex.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(null)
        os.close(output)

    def _reap(self) -> None:
        while True:
            try:
                os.read(self._wake_read, 4096)
            except BlockingIOError:
                break
        while (pid := find_dead_child()) is not None:
            if pid in self._children:
                # Whatever the worker itself had started. Its pid is its own until it is reaped, so do it before.
                kill_group(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if pid in self._children:
                self._children.discard(pid)
                self.tell(exited=pid, status=status)


def find_dead_child() -> int | None:
    """A child that has ended and waits to be reaped, or None."""
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return dead.si_pid if dead is not None else None


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


def exit_at_once(code: int) -> NoReturn:
    """Ends this process at once: neither a model's own threads nor its exit handlers may hold up the end."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def listen(listener: socket.socket, path: str) -> None:
    """Binds a Unix socket that only this user may connect to."""
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen()


def open_log(path: str | None) -> int:
    """A descriptor for a worker's output: its log, else this process's own standard error."""
    if path is None:
        return os.dup(2)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)


def start_fresh(spec: ReplicaSpec, listener: socket.socket, output: int) -> int:
    """Starts a worker as a new interpreter, where forking is unsafe."""
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard.worker.boot", str(listener.fileno())],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        pass_fds=[listener.fileno()],
        process_group=0,
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    process.stdin.write(msgspec.json.encode(spec))
    process.stdin.close()
    process.returncode = 0  # `_reap` waits for it; Popen must not do so as well
    return process.pid


def main() -> None:
    """Entry: the last argument is the descriptor of the socket to the owner; `--annex` before it makes this one."""
    is_annex = sys.argv[1] == ANNEX[-1]
    owner = socket.socket(fileno=int(sys.argv[-1]))
    started = time.perf_counter()
    serve = None
    if CAN_FORK:
        for name in PRELOAD_OF_ANNEX if is_annex else PRELOAD:
            importlib.import_module(name)
        from modelyard.worker.boot import serve_replica

        serve = serve_replica
    run_nursery(owner, serve, started, None if is_annex or serve is None else Annex(ANNEX))


def run_nursery(owner: socket.socket, serve: Serve | None, started: float, annex: Annex | None = None) -> None:
    """Runs a nursery that has imported what it wants to share. `started`: perf_counter() when it began to."""
    owner.setblocking(True)
    # Collections in the children would touch, and so copy, every shared page.
    gc.collect()
    gc.freeze()
    nursery = Nursery(owner, serve, annex)
    nursery.tell(ready=round((time.perf_counter() - started) * 1000))
    nursery.run()


if __name__ == "__main__":
    main()
