"""The process that imports the model libraries once and forks the nursery from there: another one, at once, when that
has died. Otherwise it waits, so that next to nothing can end it; its pages are the nursery's own.

Its owner is the nursery's too, and sends it the sockets that nurseries are to talk to it by. When the owner's socket
closes it ends; a nursery goes on without it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

from modelyard.worker.large_pages import gather_in_large_pages
from modelyard.worker.nursery import CAN_FORK, PRELOAD, SECOND_NURSERY, Serve, freeze, preload, run_nursery
from modelyard.worker.nursery_messages import Exited
from modelyard.worker.parent_loop import ParentLoop
from modelyard.worker.processes import exit_at_once
from modelyard.worker.sandbox.confinement import prepare
from modelyard.worker.sandbox.system import hide_memory
from modelyard.worker.second_nursery import SecondNursery

FRESH_NURSERY = (sys.executable, "-P", "-m", "modelyard.worker.nursery")

RunNursery = Callable[[socket.socket], None]
"""A nursery's whole life in a fork."""


class Standby(ParentLoop):
    """The loop: sockets for nurseries, ends of nurseries."""

    def __init__(self, owner: socket.socket, run_nursery: RunNursery | None) -> None:
        """`run_nursery` runs in each fork; None: nurseries are fresh processes."""
        super().__init__(owner)
        self._run_nursery = run_nursery

    def read_owner(self) -> bool:
        """Starts a nursery on the socket that came; see ParentLoop."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.owner, 1, 1)
        except ConnectionError:
            return False
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as connection:
                try:
                    self._start(connection)
                except OSError as error:  # the owner sees the connection close, and asks again
                    sys.stderr.write(f"cannot start a nursery: {error}\n")
        return bool(data)

    def _start(self, connection: socket.socket) -> None:
        if self._run_nursery is None:
            start_fresh(connection)
        elif os.fork() == 0:
            code = 1
            try:
                self.leave()
                self._run_nursery(connection)
                code = 0
            except BaseException as error:  # noqa: BLE001 - a fork must never return into the standby's loop
                sys.stderr.write(f"nursery ended: {type(error).__name__}: {error}\n")
            finally:
                exit_at_once(code)

    def reap(self, pid: int) -> None:
        """See ParentLoop."""
        self.report(Exited(*os.waitpid(pid, 0)))


def start_fresh(connection: socket.socket) -> None:
    """Starts a nursery as a new interpreter, where forking is unsafe. Raises OSError."""
    process = subprocess.Popen(
        [*FRESH_NURSERY, str(connection.fileno())], pass_fds=[connection.fileno()], stdin=subprocess.DEVNULL
    )
    process.returncode = 0  # `reap` waits for it; Popen must not do so as well


def run_standby(owner: socket.socket, run_nursery: RunNursery | None) -> None:
    """Runs a standby that has imported what nurseries are to share."""
    owner.setblocking(True)
    freeze()
    Standby(owner, run_nursery).run()


def main() -> None:
    """Entry: argv[-1] is the descriptor of the socket to the owner."""
    owner = socket.socket(fileno=int(sys.argv[-1]))
    if not CAN_FORK:
        return run_standby(owner, None)
    hide_memory()
    prepare()
    preload(PRELOAD)
    gather_in_large_pages()
    from modelyard.worker.replica import serve_replica

    return run_standby(owner, lambda connection: begin_nursery(connection, serve_replica))


def begin_nursery(connection: socket.socket, serve: Serve) -> None:
    """A nursery's life in a fork of the standby."""
    run_nursery(connection, serve, SecondNursery(SECOND_NURSERY))


if __name__ == "__main__":
    main()
