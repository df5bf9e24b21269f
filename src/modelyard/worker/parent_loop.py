"""The loop of a process that starts others: waits for its owner's socket, its children's ends, and other sockets.

Single-threaded, since its children are forks. Knows neither what the owner sends nor what a child is.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable

from modelyard.worker.nursery_messages import Report, to_line
from modelyard.worker.processes import find_dead_child


class ParentLoop(ABC):
    """Runs until the owner's socket closes. `owner`: that socket."""

    def __init__(self, owner: socket.socket) -> None:
        self.owner = owner
        self._alive = True
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()

    @abstractmethod
    def read_owner(self) -> bool:
        """Does what the owner has sent; False when it has closed its end."""

    @abstractmethod
    def reap(self, pid: int) -> None:
        """Waits for a child that has ended, and tells of it."""

    def run(self) -> None:
        """Serves until the owner's socket closes."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.listen_to(self.owner, self._read_owner)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._reap_all)
        while self._alive:
            for key, _ in self._selector.select():
                key.data()

    def listen_to(self, connection: socket.socket, on_readable: Callable[[], None]) -> None:
        """Calls `on_readable` whenever there is something to read."""
        self._selector.register(connection, selectors.EVENT_READ, on_readable)

    def ignore(self, connection: socket.socket) -> None:
        """Ends `listen_to`."""
        self._selector.unregister(connection)

    def report(self, report: Report) -> None:
        """Sends one line to the owner."""
        try:
            self.owner.sendall(to_line(report))
        except OSError:  # the owner is gone; the closed socket ends the loop
            return

    def leave(self) -> None:
        """Cuts a fork loose from this process: own signals, none of its descriptors."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        self.owner.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _read_owner(self) -> None:
        self._alive = self.read_owner()

    def _reap_all(self) -> None:
        while True:
            try:
                os.read(self._wake_read, 4096)
            except BlockingIOError:
                break
        while (pid := find_dead_child()) is not None:
            self.reap(pid)
