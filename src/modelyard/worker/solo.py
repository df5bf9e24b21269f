"""A model alone in a process of its own: `python -m modelyard.worker.solo FD LOG_LEVEL LOG_FORMAT` serves HTTP on the
listening socket FD from the first moment, and gets the model's ReplicaSpec, as JSON, on standard input once its files
are here.

Confines itself before it reads anything of the model. Says on standard output how it is doing and what it logs, a line
of JSON each; what libraries print goes to standard error, as does what is logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading

import msgspec

from modelyard.config import JSON
from modelyard.errors import ModelyardError, Unavailable
from modelyard.protocol import Failure, Logged
from modelyard.records.replicas import ReplicaSpec
from modelyard.telemetry.log_lines import write_json_lines
from modelyard.worker.http import serve
from modelyard.worker.log_lines import SentLog
from modelyard.worker.processes import die_with_parent, exit_at_once
from modelyard.worker.sandbox.confinement import Needs, confine


class SoloReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """It takes connections, its model is `ready`, it ends because of `failed`, or it has `logged` a line."""

    ready: bool = False
    failed: Failure | None = None
    logged: Logged | None = None


class Solo:
    """The process's ends: the spec that comes in, the reports that go out."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._parent_pid = os.getppid()
        self._output = os.dup(1)
        self._writing = threading.Lock()
        os.dup2(2, 1)

    def report(self, report: SoloReport) -> None:
        """Writes a line; one that nobody reads any more is no error. Any thread."""
        try:
            with self._writing:
                os.write(self._output, msgspec.json.encode(report) + b"\n")
        except BrokenPipeError:
            return

    def tell_line(self, line: Logged, call: object | None) -> None:
        """Reports a line of the log. Any thread."""
        self.report(SoloReport(logged=line))

    async def prepare(self) -> ReplicaSpec:
        """Waits for the spec; from then on this process is confined. Raises Unavailable when none will come."""
        self.report(SoloReport())
        logging.getLogger().addHandler(SentLog(self.tell_line))
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        if not (line := await reader.read()):
            raise Unavailable("The worker was not told which model to load.")
        spec = msgspec.json.decode(line, type=ReplicaSpec)
        confine(Needs.of_replica(spec), spec.sandbox, self._parent_pid, (self._listener.fileno(),))
        return spec


def main() -> None:
    """Runs until SIGINT or SIGTERM, or until the model has failed."""
    die_with_parent(os.getppid())
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("modelyard").setLevel(sys.argv[2])
    if sys.argv[3] == JSON:
        write_json_lines()
    # uvicorn raises again the signal that ended it: let SIGTERM then be what Ctrl-C is, an orderly end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        solo = Solo(listener)
        try:
            serve(solo.prepare, listener, lambda _: solo.report(SoloReport(ready=True)))
        except KeyboardInterrupt:
            exit_at_once(0)
        except ModelyardError as error:
            solo.report(SoloReport(failed=Failure.of(0, error)))
            exit_at_once(1)
    exit_at_once(0)


if __name__ == "__main__":
    main()
