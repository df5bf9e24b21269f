"""A nursery's child that is a nursery too, for models that need no torch. Owns that process and its socket.

A fork of the first starts with half of torch's pages to its name, 150 MB; one of the second holds 60 with a model of
23M parameters in it. It starts when the first such model is asked for, and then stays.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence

from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.nursery_messages import (
    Exited,
    NurseryReady,
    Refused,
    Report,
    Spawn,
    Started,
    read_report,
    to_line,
)

WITHOUT_TORCH = frozenset({"onnx", "openvino", "gguf", "static"})
"""Runtimes that hold models without it."""
WRITES_ITSELF = frozenset({"gguf"})
"""Those of them that generate without it too."""
NEEDS_TORCH = frozenset({"causal-lm", "seq2seq-lm", "speech-seq2seq", "vision-encoder-decoder", "object-detection"})
"""Heads whose generation, or whose boxes, are the torch runtime's."""
ENDED = "the nursery for models without torch ended"


class SecondNursery:
    """Started by `open`, gone when `socket` is None again. Used by the nursery's one thread."""

    def __init__(self, command: Sequence[str]) -> None:
        """`command`: the program; it gets the descriptor of its socket as one more argument."""
        self._command = command
        self._buffer = b""
        self._requested: set[str] = set()
        self._pids: set[int] = set()
        self.socket: socket.socket | None = None

    def takes(self, spec: ReplicaSpec) -> bool:
        """Whether a replica is to be forked there."""
        if spec.runtime not in WITHOUT_TORCH:
            return False
        if spec.runtime in WRITES_ITSELF:
            return True
        from modelyard.tasks.registry import find_task

        task = find_task(spec.task)
        return task is not None and not NEEDS_TORCH.intersection(task.heads)

    def open(self) -> socket.socket:
        """Starts the process; returns the socket to it, to listen on. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(
                    [*self._command, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
            except OSError:
                ours.close()
                raise
        process.returncode = 0  # the nursery reaps it; Popen must not do so as well
        self.socket = ours
        return ours

    def send(self, spawn: Spawn) -> None:
        """Passes on the command to start a worker. If the process has just died, `receive` will say so."""
        assert self.socket is not None, "open() first"  # noqa: S101
        self._requested.add(spawn.spec.replica_id)
        try:
            self.socket.sendall(to_line(spawn))
        except OSError:
            return

    def receive(self) -> list[Report]:
        """What it reports, for the nursery's owner. When it has ended, that its workers have ended too; `socket` is
        then None, and the caller closes the old one."""
        assert self.socket is not None, "open() first"  # noqa: S101
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            return self._end()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        reports = [self._noted(read_report(line)) for line in lines]
        return [report for report in reports if not isinstance(report, NurseryReady)]

    def close(self) -> None:
        """Hangs up, upon which it kills its workers and ends. In a fork: lets go of the socket."""
        if self.socket is not None:
            self.socket.close()

    def _noted(self, report: Report) -> Report:
        match report:
            case Started(replica_id, pid):
                self._requested.discard(replica_id)
                self._pids.add(pid)
            case Refused(replica_id):
                self._requested.discard(replica_id)
            case Exited(pid):
                self._pids.discard(pid)
        return report

    def _end(self) -> list[Report]:
        """Its workers die with it, by their parent-death signal."""
        ended: list[Report] = [Exited(pid, None) for pid in self._pids]
        ended += [Refused(replica_id, ENDED) for replica_id in self._requested]
        self._requested.clear()
        self._pids.clear()
        self._buffer = b""
        self.socket = None
        return ended
