"""A nursery whose workers echo: real processes, sockets and signals, without the seconds that model libraries take.

What a worker does wrong is asked for by words in its spec's `path`: `refuse`, `no-memory`, `crash`, `deaf` (ignores
SIGTERM), `parent` (starts a process of its own), `linger` (that one keeps the worker's sockets). Texts that do more
than echo: `facts` (JSON about the process), `freeze` (native code that never lets go of the interpreter), `leave`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modelyard.errors import ModelRefused
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.base import Call, Task
from modelyard.worker.nursery import freeze, run_nursery
from modelyard.worker.replica import serve_replica
from modelyard.worker.standby import run_standby
from modelyard.worker.threads_by_work import LONG_S
from tests.engine.echo import ECHO, EchoModel
from tests.engine.echo import run as echo

ROOT = Path(__file__).parents[2]
PROGRAM = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.engine import workers; workers."


def echo_standby(slots: int = ECHO.max_batch) -> Sequence[str]:
    """The command that LocalEngine takes as `standby`. `slots`: how many requests each worker takes at once."""
    return (sys.executable, "-c", f"{PROGRAM}stand_by({slots})")


ECHO_STANDBY = echo_standby()
ECHO_NURSERY = (sys.executable, "-c", f"{PROGRAM}nurse()")
"""The nursery alone."""
SIG_IGN = ctypes.c_void_p(1)


class EchoLibrary:
    """The ModelLibrary of these workers. `slots`: how many requests each takes at once; `answers`: while clear,
    requests wait in the model."""

    def __init__(self, slots: int = ECHO.max_batch) -> None:
        self.slots = slots
        self.threads: list[int] = []
        self.answers = threading.Event()
        self.answers.set()
        self.child: int | None = None
        self.accelerated = False
        self.device = ""

    def find_task(self, spec: ReplicaSpec) -> Task:
        return replace(ECHO, run=self.run, max_batch=self.slots)

    def set_threads(self, count: int) -> None:
        self.threads.append(count)

    def load(self, spec: ReplicaSpec, task: Task) -> Any:
        wishes = spec.path.split()
        self.device = spec.device
        self.accelerated = "accelerated" in wishes
        if "deaf" in wishes:
            ctypes.CDLL(None).signal(signal.SIGTERM, SIG_IGN)
        if "parent" in wishes:
            self.child = subprocess.Popen(["sleep", "1000"]).pid
        if "linger" in wishes:
            self.child = linger()
        if "hang-up" in wishes:
            hang_up()
        if "refuse" in wishes:
            raise ModelRefused("there are no weights in it")
        if "no-memory" in wishes:
            raise MemoryError
        if "crash" in wishes:
            sys.stderr.write("something went very wrong\n")
            sys.stderr.flush()
            os._exit(7)
        return EchoModel(self.answers)

    def load_adapter(self, model: Any, path: Path) -> Callable[[], Any]:
        return lambda: model.adapted(path)

    def device_bytes(self) -> int | None:
        return 5 * 1024**3 if self.accelerated else None

    def run(self, model: Any, calls: Sequence[Call[Any, Any]]) -> list[Any]:
        match calls[0].inputs.text:
            case "facts":
                return [json.dumps(self.facts())] * len(calls)
            case "freeze":
                ctypes.PyDLL(None).sleep(1000)
            case "leave":
                model.answers.wait()
                sys.exit("the model has had enough")
        return echo(model, calls)

    def facts(self) -> dict[str, Any]:
        """What this process has. It computes for long enough to have all threads that it may have."""
        end = time.perf_counter() + 1.1 * LONG_S / self.threads[-1]
        while time.perf_counter() < end:
            pass
        return {
            "child": self.child,
            "device": self.device,
            "threads": self.threads,
            "frozen": gc.get_freeze_count(),
            "random": random.random(),
            "descriptors": sorted(filter(None, map(read_link, os.listdir("/proc/self/fd")))),
            "environment": dict(os.environ),
            "group": os.getpgid(0),
        }


def read_link(descriptor: str) -> str | None:
    """What a descriptor is open on, without the number that tells two of a kind apart."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").partition("[")[0].rstrip(":")
    except FileNotFoundError:  # the one that listed them
        return None


def hang_up() -> None:
    """Breaks the owner's connection, once there is one; returns once the loop has noticed."""
    while (found := find_accepted()) is None:
        time.sleep(0.001)
    with found:
        inode = os.fstat(found.fileno()).st_ino
        found.shutdown(socket.SHUT_RDWR)
    while is_open(inode):
        time.sleep(0.001)


def find_accepted() -> socket.socket | None:
    """A copy of the socket that somebody has connected to; None: nobody has."""
    for name in os.listdir("/proc/self/fd"):
        if not (read_link(name) or "").startswith("socket"):
            continue  # a copy of anything else would stay open
        try:
            found = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # it was closed meanwhile
            continue
        accepted = not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and found.getsockname()
        if found.family == socket.AF_UNIX and accepted:
            return found
        found.close()
    return None


def is_open(inode: int) -> bool:
    """Whether a descriptor of this process is open on that."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.fstat(int(name)).st_ino == inode:
                return True
        except OSError:  # the one that listed them
            continue
    return False


def linger() -> int:
    """Forks, sockets and all, into a session of its own, where no signal to the worker's group can reach it."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        time.sleep(20)
        os._exit(0)
    return pid


def serve(spec: ReplicaSpec, listener: socket.socket, slots: int = ECHO.max_batch) -> int:
    """What each fork does."""
    return serve_replica(spec, listener, EchoLibrary(slots))


def owner() -> socket.socket:
    """argv[1] is the descriptor of the socket to it."""
    return socket.socket(fileno=int(sys.argv[1]))


def nurse() -> None:
    """Entry of ECHO_NURSERY."""
    freeze()
    run_nursery(owner(), serve)


def stand_by(slots: int) -> None:
    """Entry of `echo_standby`."""
    run_standby(owner(), lambda connection: run_nursery(connection, partial(serve, slots=slots)))
