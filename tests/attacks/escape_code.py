"""Copied into a model's folder: its configuration class, and what it tries while it loads. Reports by its labels."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import BertConfig, BertForSequenceClassification

while not (FACTS := json.loads(Path("FACTS").read_text())):  # a worker that loads at once is quicker than who tells
    time.sleep(0.02)
LIBC = ctypes.CDLL(None, use_errno=True)
SHARED_ANONYMOUS = 0x21
CLONE_NEWUSER = 0x10000000


def demand(result: int) -> None:
    """Raises OSError when a C function says that it failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def find_secret() -> None:
    """The server's key in an environment: its own, or the server's."""
    places = ["/proc/self/environ", f"/proc/{FACTS['server']}/environ", f"/proc/{os.getppid()}/environ"]
    found = [*os.environ.values()]
    for place in places:
        try:
            found.append(Path(place).read_text())
        except OSError:
            continue
    if not any(FACTS["key"] in each for each in found):
        raise OSError("no key anywhere")


def read_memory(pid: int) -> None:
    """One page of another process, through its file in /proc."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(int(maps.readline().partition("-")[0], 16))
        memory.read(16)


def read_through_call() -> None:
    """One page of the server, by process_vm_readv."""

    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    buffer = ctypes.create_string_buffer(16)
    ours, theirs = Vector(ctypes.addressof(buffer), 16), Vector(FACTS["address"], 16)
    demand(LIBC.process_vm_readv(FACTS["server"], ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))


def trace() -> None:
    """Stops the server as a debugger does, and lets it go on, so that it can be asked what was reached."""
    demand(LIBC.ptrace(16, FACTS["server"], 0, 0))
    os.waitpid(FACTS["server"], 0x40000000)
    demand(LIBC.ptrace(17, FACTS["server"], 0, 0))


def connect(family: int, kind: int, address: Any) -> None:
    """Reaches somebody by a socket."""
    with socket.socket(family, kind) as made:
        made.settimeout(2)
        made.connect(address)
        if kind == socket.SOCK_DGRAM:
            made.send(b"x")


def leave_group() -> None:
    """Starts a process in a session of its own, which outlives this one."""
    subprocess.Popen(["sleep", "600"], start_new_session=True)


def fork_many() -> None:
    """A few processes, as the start of many."""
    for _ in range(5):
        if os.fork() == 0:
            signal.pause()


def start_threads() -> None:
    """One thread more than a worker may have: with many more it might be ended before it has told of it."""
    stop = threading.Event()
    started = []
    threading.stack_size(32768)
    try:
        for _ in range(FACTS["threads"]):
            started.append(threading.Thread(target=stop.wait, daemon=True))
            started[-1].start()
    finally:
        stop.set()
        threading.stack_size(0)


def write_much() -> None:
    """A file beyond any sensible size; nothing of it is on the disk."""
    with tempfile.TemporaryFile() as file:
        os.pwrite(file.fileno(), b"x", 64 * 1024**3)


def change_mode() -> None:
    """Opens the server's key to everybody."""
    os.chmod(FACTS["cli_key"], 0o666)
    if os.stat(FACTS["cli_key"]).st_mode & 0o066 == 0:
        raise OSError("nothing changed")


def limit_server() -> None:
    """Sets how many descriptors the server may have: to what it has, so that the others' attempts can be told."""
    import resource

    number = resource.RLIMIT_NOFILE
    resource.prlimit(FACTS["server"], number, resource.prlimit(FACTS["server"], number))


ATTEMPTS: dict[str, Callable[[], object]] = {
    "key in an environment": find_secret,
    "cli.key": lambda: Path(FACTS["cli_key"]).read_text(),
    "database read": lambda: Path(FACTS["database"]).read_bytes(),
    "database written": lambda: os.close(os.open(FACTS["database"], os.O_RDWR)),
    "database emptied": lambda: os.truncate(FACTS["database"] + "-extra", 0),
    "log of another": lambda: os.listdir(FACTS["logs"]),
    "other model": lambda: os.listdir(FACTS["other_model"]),
    "home": lambda: os.listdir(os.path.expanduser("~root") if os.getuid() == 0 else FACTS["home"]),
    "file made": lambda: Path(FACTS["models"], "made").write_text("x"),
    "own model changed": lambda: Path(FACTS["own"], "made").write_text("x"),
    "mode changed": change_mode,
    "link": lambda: os.link(FACTS["cli_key"], os.path.join(tempfile.gettempdir(), "key")),
    "memory of the server": lambda: read_memory(FACTS["server"]),
    "memory of the nursery": lambda: read_memory(os.getppid()),
    "memory by a call": read_through_call,
    "trace": trace,
    "signal to the server": lambda: os.kill(FACTS["server"], 0),
    "signal to the nursery": lambda: os.kill(os.getppid(), 0),
    "signal to all": lambda: os.kill(-1, 0),
    "limits of the server": limit_server,
    "TCP": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", FACTS["port"])),
    "UDP": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 53)),
    "name": lambda: socket.create_connection(("localhost", FACTS["port"]), 2),
    "listening": lambda: socket.create_server(("127.0.0.1", 0)),
    "abstract socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + FACTS["abstract"]),
    "socket in a folder": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, FACTS["socket"]),
    "own session": leave_group,
    "processes": fork_many,
    "threads": start_threads,
    "large file": write_much,
    "memory outside files": lambda: os.memfd_create("x"),
    "memory without a limit": lambda: mmap.mmap(-1, 4096, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS),
    "namespace": lambda: demand(LIBC.unshare(CLONE_NEWUSER)),
    "mount": lambda: demand(LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
    "outlives the server": lambda: demand(LIBC.prctl(1, 0, 0, 0, 0)),
}


def attempt_all() -> dict[str, str]:
    """What came of each attempt: "reached", or what stood in the way."""
    came = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            came[name] = "reached"
        except BaseException as error:
            came[name] = type(error).__name__
    return came


REPORT = json.dumps({**attempt_all(), "user": str(os.getuid()), "modules": str(len(sys.modules))})


class EscapeConfig(BertConfig):
    """Labels that tell what was reached."""

    model_type = "escape"

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.id2label = {index: REPORT + " " * index for index in range(self.num_labels)}


class EscapeModel(BertForSequenceClassification):
    """A model like any other."""

    config_class = EscapeConfig
