"""The process that imports the model libraries once and forks replicas from there, so that a boot costs milliseconds.

Single-threaded; runs no tensor operation and opens no device: a fork of a process that has done either hangs or
breaks. Talks to its owner in lines of JSON over an inherited socket; when that closes, everything it started dies.

Owner → nursery:  {"spawn": <ReplicaSpec>, "socket": "/path"}   {"signal": 15, "pid": 123}
Nursery → owner:  {"ready": <ms>}   {"started": "<replica id>", "pid": 123}   {"exited": 123, "status": <wait status>}
                  {"refused": "<replica id>", "reason": "..."}
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
from typing import Any

import msgspec

from modelyard.types import ReplicaSpec

PR_SET_PDEATHSIG = 1  # Source: prctl(2)
CAN_FORK = sys.platform == "linux"
"""Elsewhere system libraries start threads behind one's back and a forked child may hang: start fresh processes."""
PRELOAD = ("modelyard.worker.boot", "modelyard.worker.runtimes.preload")
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Environment that keeps the native libraries from starting threads at import. Workers raise their count later."""


class Nursery:
    """The loop: commands from the owner, deaths of children."""

    def __init__(self, owner: socket.socket) -> None:
        self._owner = owner
        self._children: set[int] = set()
        self._buffer = b""
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def run(self) -> None:
        """Serves until the owner's socket closes, then kills every child's process group."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self._owner, selectors.EVENT_READ)
        selector.register(self._wake_read, selectors.EVENT_READ)
        alive = True
        while alive:
            for key, _ in selector.select():
                if key.fileobj is self._owner:
                    alive = self._read_commands()
                else:
                    self._reap()
        for pid in self._children:
            kill_group(pid, signal.SIGKILL)

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
            if "spawn" in command:
                self._spawn(msgspec.convert(command["spawn"], ReplicaSpec), command["socket"])
            elif command["pid"] in self._children:
                kill_group(command["pid"], command["signal"])
        return True

    def _spawn(self, spec: ReplicaSpec, path: str) -> None:
        # Bound before the worker exists, so that its owner can connect at once, with nothing to poll for.
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen()
            pid = self._fork(spec, listener) if CAN_FORK else start_fresh(spec, listener)
        except OSError as error:
            self.tell(refused=spec.replica_id, reason=f"cannot start a process: {error}")
            return
        listener.close()
        self._children.add(pid)
        self.tell(started=spec.replica_id, pid=pid)

    def _fork(self, spec: ReplicaSpec, listener: socket.socket) -> int:
        nursery_pid = os.getpid()
        settled_read, settled_write = os.pipe()
        pid = os.fork()
        if pid:
            # Until the worker leads its own process group, a signal to that group would reach nobody: wait for it.
            os.close(settled_write)
            os.read(settled_read, 1)
            os.close(settled_read)
            return pid
        code = 1
        try:
            os.close(settled_read)
            self._become_worker(spec, nursery_pid)
            os.close(settled_write)
            from modelyard.worker.boot import serve_replica

            code = serve_replica(spec, listener)
        except BaseException as error:  # noqa: BLE001 - a fork must never return into the nursery's loop
            sys.stderr.write(f"worker ended: {type(error).__name__}: {error}\n")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _become_worker(self, spec: ReplicaSpec, nursery_pid: int) -> None:
        """Cuts the fork loose from the nursery: own session, own signals, own output; dies with the nursery."""
        from modelyard.worker.boot import redirect_output

        os.setsid()
        die_with_parent(nursery_pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._owner.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        redirect_output(spec.log_path)

    def _reap(self) -> None:
        while True:
            try:
                os.read(self._wake_read, 4096)
            except BlockingIOError:
                break
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._children.discard(pid)
            kill_group(pid, signal.SIGKILL)  # whatever the worker itself had started
            self.tell(exited=pid, status=status)


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


def start_fresh(spec: ReplicaSpec, listener: socket.socket) -> int:
    """Starts a worker as a new interpreter, where forking is unsafe."""
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard.worker.boot", str(listener.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    process.stdin.write(msgspec.json.encode(spec))
    process.stdin.close()
    process.returncode = 0  # reaped by waitpid(-1); Popen must not wait for it as well
    return process.pid


def main() -> None:
    """Entry: argv[1] is the descriptor of the socket to the owner."""
    owner = socket.socket(fileno=int(sys.argv[1]))
    owner.setblocking(True)
    started = time.perf_counter()
    if CAN_FORK:
        for name in PRELOAD:
            importlib.import_module(name)
        # Collections in the children would touch, and so copy, every shared page.
        gc.collect()
        gc.freeze()
    nursery = Nursery(owner)
    nursery.tell(ready=round((time.perf_counter() - started) * 1000))
    nursery.run()


if __name__ == "__main__":
    main()
