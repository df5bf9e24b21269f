"""The process that forks replicas, with the model libraries imported already, so that a boot costs milliseconds.

Itself forked from the standby, which has imported them. Single-threaded; runs no tensor operation and opens no device:
a fork of a process that has done either hangs or breaks. Talks to its owner in lines of `nursery_messages` over an
inherited socket; when that closes, everything it started dies.

Models that need no torch are forked by a second nursery, the first one's child, whose owner the first is.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec

from modelyard.lasting_imports import lasting_imports
from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.nursery_messages import Exited, NurseryReady, Refused, Spawn, Started, read_spawn
from modelyard.worker.parent_loop import ParentLoop
from modelyard.worker.processes import (
    address_of,
    bind_privately,
    bind_to_host,
    exit_at_once,
    kill_group,
    lead_group,
    open_log,
)
from modelyard.worker.sandbox.confinement import Needs, close_others, confine, prepare
from modelyard.worker.sandbox.system import hide_memory
from modelyard.worker.second_nursery import SecondNursery

CAN_FORK = sys.platform == "linux"
"""Elsewhere system libraries start threads behind one's back and a forked child may hang: start fresh processes."""
PRELOAD = ("modelyard.worker.replica", "modelyard.worker.runtimes.preload")
PRELOAD_WITHOUT_TORCH = ("modelyard.worker.replica", "modelyard.worker.runtimes.preload_without_torch")
SECOND_NURSERY = (sys.executable, "-P", "-m", "modelyard.worker.nursery", "--without-torch")

Serve = Callable[[ReplicaSpec, socket.socket], int]
"""A worker's whole life in a fork: serves on the socket, returns the exit code."""


class Nursery(ParentLoop):
    """The loop: commands from the owner, deaths of children."""

    def __init__(self, owner: socket.socket, serve: Serve | None, second: SecondNursery | None = None) -> None:
        """`serve` runs in each fork; None: workers are fresh processes. `second`: where some are forked instead."""
        super().__init__(owner)
        self._serve = serve
        self._second = second
        self._children: set[int] = set()
        self._buffer = b""

    def run(self) -> None:
        """Serves until the owner's socket closes, then kills every child's process group."""
        super().run()
        for pid in self._children:
            kill_group(pid, signal.SIGKILL)
        if self._second is not None:
            self._second.close()

    def read_owner(self) -> bool:
        """Starts the workers that the owner's lines ask for; see ParentLoop."""
        try:
            data = self.owner.recv(65536)
        except ConnectionError:
            return False
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            spawn = read_spawn(line)
            if self._second is not None and self._second.takes(spawn.spec):
                self._spawn_in_second(self._second, spawn)
            else:
                self._spawn(spawn)
        return True

    def _spawn_in_second(self, second: SecondNursery, spawn: Spawn) -> None:
        try:
            if second.socket is None:
                self.listen_to(second.open(), self._pass_on_reports)
        except OSError as error:
            self.report(Refused(spawn.spec.replica_id, f"cannot start a process: {error}"))
        else:
            second.send(spawn)

    def _pass_on_reports(self) -> None:
        """Passes on what the second nursery reports, and on its end what that means for its workers."""
        assert self._second is not None  # noqa: S101 - nothing else is registered
        connection = self._second.socket
        for report in self._second.receive():
            self.report(report)
        if self._second.socket is None:
            self.ignore(connection)  # type: ignore[arg-type]  # it was open before
            connection.close()  # type: ignore[union-attr]

    def _spawn(self, spawn: Spawn) -> None:
        spec = spawn.spec
        with ExitStack() as held:  # the worker gets copies
            try:
                # Bound before the worker exists, so that its owner can connect at once, with nothing to poll for.
                listener = held.enter_context(listen(spawn))
                output = open_log(spec.log_path)
                held.callback(os.close, output)
                pid = self._fork(spec, listener, output) if self._serve else start_fresh(spec, listener, output)
            except OSError as error:
                self.report(Refused(spec.replica_id, f"cannot start a process: {error}"))
                return
            address = address_of(listener)
        self._children.add(pid)
        self.report(Started(spec.replica_id, pid, spawn.socket, address))

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
            self.leave()
            self._take_output(output)
            close_others({0, 1, 2, listener.fileno()})
            confine(Needs.of_replica(spec), spec.sandbox, nursery_pid, (listener.fileno(),))
            code = self._serve(spec, listener)
        except BaseException as error:  # noqa: BLE001 - a fork must never return into the nursery's loop
            sys.stderr.write(f"worker ended: {type(error).__name__}: {error}\n")
        finally:
            exit_at_once(code)

    def leave(self) -> None:
        """See ParentLoop."""
        super().leave()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self._second is not None:
            self._second.close()

    def _take_output(self, output: int) -> None:
        """Gives a fork its own input and output."""
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(null)
        os.close(output)

    def reap(self, pid: int) -> None:
        """See ParentLoop."""
        if pid in self._children:
            # Whatever the worker itself had started. Its pid is its own until it is reaped, so do it before.
            kill_group(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if pid in self._children:
            self._children.discard(pid)
            self.report(Exited(pid, status))


def listen(spawn: Spawn) -> socket.socket:
    """The socket on which a worker is to take connections. Raises OSError."""
    if spawn.host:
        return bind_to_host(spawn.host)
    listener = socket.socket(socket.AF_UNIX)
    try:
        bind_privately(listener, spawn.socket)
    except OSError:
        listener.close()
        raise
    return listener


def start_fresh(spec: ReplicaSpec, listener: socket.socket, output: int) -> int:
    """Starts a worker as a new interpreter, where forking is unsafe."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "modelyard.worker.replica", str(listener.fileno())],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        pass_fds=[listener.fileno()],
        process_group=0,
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    process.stdin.write(msgspec.json.encode(spec))
    process.stdin.close()
    process.returncode = 0  # `reap` waits for it; Popen must not do so as well
    return process.pid


def main() -> None:
    """Entry of one that no standby forks: argv[-1] is the descriptor of the socket to the owner; `--without-torch`
    before it: the second nursery, else one whose workers are fresh processes."""
    owner = socket.socket(fileno=int(sys.argv[-1]))
    serve = None
    if sys.argv[1] == SECOND_NURSERY[-1]:
        hide_memory()
        prepare()
        preload(PRELOAD_WITHOUT_TORCH)
        from modelyard.worker.replica import serve_replica

        serve = serve_replica
        freeze()
    run_nursery(owner, serve)


def preload(modules: Sequence[str]) -> None:
    """Imports what forks are to share."""
    with lasting_imports():
        for name in modules:
            importlib.import_module(name)


def freeze() -> None:
    """Once everything is imported that forks are to share: collections in them would touch, and so copy, every page."""
    gc.freeze()


def run_nursery(owner: socket.socket, serve: Serve | None, second: SecondNursery | None = None) -> None:
    """Runs a nursery that has imported what it wants to share, and has frozen it."""
    owner.setblocking(True)
    nursery = Nursery(owner, serve, second)
    nursery.report(NurseryReady(os.getpid()))
    nursery.run()


if __name__ == "__main__":
    main()
