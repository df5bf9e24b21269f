"""Confines a process to one model: user, files, system calls, sizes. Called by the process itself, before it has
threads.

Decides what it needs, and at what level. Reads nothing of the model but the names of its files.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelyard.records.conversions import ConversionOrder
from modelyard.records.replicas import ReplicaSpec
from modelyard.records.variants import ExportOrder
from modelyard.worker.memory import count_threads
from modelyard.worker.processes import die_with_parent
from modelyard.worker.sandbox import landlock, seccomp, system
from modelyard.worker.sandbox.levels import READ_ANYTHING, READ_FILES, WORKER_USERS, find_mechanisms

FILE_BYTES = 4 * 1024**3
"""No file that a worker writes may become larger."""
OPEN_FILES = 4096
THREADS_PER_CORE = 16
LEAST_THREADS = 512
"""Threads that a worker's user may have; libraries start some per core."""
SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/sbin", "/sys/devices/system", "/sys/class", "/sys/bus", "/sys/module",
    "/sys/kernel/mm/transparent_hugepage", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/alternatives", "/etc/mime.types", "/etc/fonts", "/etc/passwd", "/etc/OpenCL",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems", "/proc/loadavg",
    "/proc/devices", "/proc/driver", "/proc/sys/vm", "/proc/sys/kernel", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
"""What libraries read of the machine. Of /proc no other process's folder."""
NAMES = ("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
         "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/run/systemd/resolve")  # fmt: skip
"""What finding a host by its name, and proving who it is, take besides."""
ACCELERATORS = ("/dev/kfd", "/dev/dri", "/dev/nvidiactl")
DEVICES = ("/dev/null", *ACCELERATORS, "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools",
           "/dev/nvidia-caps", "/dev/nvidia-modeset")  # fmt: skip
LISTENING_RUNTIMES = frozenset({"gguf"})
"""Runtimes that cannot be had without the server that comes with them, which wants a socket."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a process needs of its machine. `name`: tells it from others; `model`: the folder that it reads; `base`:
    another one, which that model changes; `scratch`: the one that it makes for itself to write in, None: it writes
    nowhere; `network`: it opens connections; `accelerator`: it computes on one; `file_bytes`: no file that it writes
    becomes larger; `own_socket`: it listens on a Unix socket that it makes in its own folder."""

    name: str
    model: Path
    scratch: Path | None
    network: bool = False
    accelerator: bool = False
    file_bytes: int = FILE_BYTES
    own_socket: bool = False
    base: Path | None = None

    @classmethod
    def of_replica(cls, spec: ReplicaSpec) -> Needs:
        """Those of a worker."""
        scratch = None if spec.scratch is None else Path(spec.scratch)
        return cls(
            spec.replica_id,
            Path(spec.path),
            scratch,
            # What listens must not reach the network: the filter does not tell one socket from another.
            network=spec.network and spec.runtime not in LISTENING_RUNTIMES,
            accelerator=may_use_accelerator(spec.device),
            own_socket=spec.runtime in LISTENING_RUNTIMES,
            base=None if spec.base is None else Path(spec.base),
        )

    @classmethod
    def of_export(cls, order: ExportOrder) -> Needs:
        """Those of the program that makes variants, whose files are as large as models."""
        scratch = None if order.scratch is None else Path(order.scratch)
        largest = max(FILE_BYTES, order.memory_limit_bytes or sys.maxsize)
        return cls(order.target, Path(order.path), scratch, file_bytes=largest)

    @classmethod
    def of_conversion(cls, order: ConversionOrder) -> Needs:
        """Those of the program that converts pickled weights, whose files are as large as those."""
        scratch = None if order.scratch is None else Path(order.scratch)
        return cls(order.target, Path(order.path), scratch, file_bytes=max(FILE_BYTES, 2 * order.memory_limit_bytes))


def confine(needs: Needs, level: str, parent_pid: int, listeners: Sequence[int] = ()) -> None:
    """Applies what `level`, a value of the setting `sandbox`, asks for. `listeners`: sockets on which it may listen. It
    dies with its parent, whichever level.

    Raises OSError when something that the machine has cannot be applied: a process that is less confined than was
    announced is not to go on.
    """
    if level == "off":
        die_with_parent(parent_pid)
        return
    if (threads := count_threads(os.getpid())) > 1:
        raise OSError(errno.EBUSY, f"{threads} threads run, and only one of them would be confined")
    mechanisms = find_mechanisms()
    system.forbid_new_privileges()
    limit_resources(needs.file_bytes, own_user=mechanisms.other_user)
    if needs.scratch is not None:
        make_scratch(needs.scratch)
    rules = plan_rules(needs, mechanisms.landlock) if mechanisms.landlock else None
    if mechanisms.other_user:
        become_other_user(needs)
    else:
        system.keep_capabilities(0)
    system.hide_memory()
    die_with_parent(parent_pid)  # not before: the kernel forgets it when the user changes
    if rules is not None:
        rules.apply()
    if mechanisms.seccomp:
        seccomp.apply_filter(
            os.getpid(),
            listeners,
            network=needs.network,
            shared_memory=needs.accelerator,
            own_socket=needs.own_socket,
        )


def may_use_accelerator(device: str) -> bool:
    """Whether a device is there for a model that is to run on `device`."""
    return device != "cpu" and any(os.path.exists(each) for each in ACCELERATORS)


def close_others(keep: set[int]) -> None:
    """Closes every descriptor but `keep`: for a fork, which has those of its parent."""
    import resource  # not everywhere

    low = 0
    for number in sorted(keep):
        if low < number:  # an empty range would be taken for an endless one
            os.closerange(low, number)
        low = number + 1
    os.closerange(low, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def limit_resources(file_bytes: int, *, own_user: bool) -> None:
    """Sets the sizes and counts that the kernel watches over. `own_user`: the process gets a user of its own; threads
    are counted per user."""
    import resource  # not everywhere

    for what, wanted in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        *([(resource.RLIMIT_NPROC, limit_threads())] if own_user else []),
    ):
        _, most = resource.getrlimit(what)
        most = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(what, (most, most))


def limit_threads() -> int:
    """How many threads a worker may have."""
    return max(LEAST_THREADS, THREADS_PER_CORE * (os.cpu_count() or 1))


def make_scratch(folder: Path) -> None:
    """Makes the folder that is the process's own, and its home."""
    folder.mkdir(mode=0o700)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME"):
        os.environ[name] = str(folder)
    tempfile.tempdir = None  # chosen before the fork, maybe: to be chosen anew


def plan_rules(needs: Needs, version: int) -> landlock.Rules:
    """What the process may do with which files. Raises OSError."""
    rules = landlock.Rules(version, network=needs.network)
    rules.allow([*SYSTEM, *interpreter_folders(), *(NAMES if needs.network else ())], landlock.READ)
    for folder in (needs.model, needs.base):
        if folder is not None:
            rules.allow(model_files(folder), landlock.READ)
    gpus = [f"/dev/{each}" for each in os.listdir("/dev") if each.startswith("nvidia") and each[6:].isdigit()]
    rules.allow([*DEVICES, *gpus], landlock.USE)
    if needs.scratch is not None:
        rules.allow([str(needs.scratch)], landlock.WRITE | (landlock.MAKE_SOCK if needs.own_socket else 0))
    # Kept open for ever: the rule is about this folder as the kernel has it in memory, and only holds while that stays.
    own = os.open(f"/proc/{os.getpid()}", os.O_PATH | os.O_CLOEXEC)
    rules.allow_opened(own, landlock.READ | landlock.WRITE_FILE)
    return rules


def prepare() -> None:
    """Finds out, in the process that workers are forked from, what is the same for all of them."""
    find_mechanisms()
    interpreter_folders()


@cache
def interpreter_folders() -> frozenset[str]:
    """Where the interpreter and its libraries lie."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    return frozenset(os.path.realpath(each) for each in (*folders, *sys.path) if each)


def model_files(folder: Path) -> set[str]:
    """A model's folder, and those files of its hub repository that it links to."""
    own = Path(os.path.realpath(folder))
    blobs = own.parent.parent / "blobs"
    links = {os.path.realpath(each.path) for each in walk(str(own)) if each.is_symlink()}
    return {str(own), *(each for each in links if Path(each).parent == blobs)}


def walk(folder: str) -> Iterable[os.DirEntry[str]]:
    """All files below a folder, as far as it can be read; links to folders are not followed."""
    try:
        opened = os.scandir(folder)
    except OSError:  # the loader will say so, in better words
        return
    with opened as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(entry.path)
            else:
                yield entry


def become_other_user(needs: Needs) -> None:
    """Changes to a user that has nothing but this process; what it may read is for Landlock to say, not for modes."""
    user = choose_user(needs.name)
    if needs.scratch is not None:
        os.chown(needs.scratch, user, user)
    kept = READ_FILES if system.permitted_capabilities() & READ_FILES else READ_ANYTHING
    os.setgroups([])
    os.setresgid(user, user, user)
    system.control(system.PR_SET_KEEPCAPS, 1)
    os.setresuid(user, user, user)
    system.keep_capabilities(kept)
    system.control(system.PR_SET_KEEPCAPS, 0)


def choose_user(name: str) -> int:
    """A user id that no process on this machine has; which is tried first follows from the name."""
    taken = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                taken.add(entry.stat().st_uid)
            except OSError:  # it has ended
                continue
    start, count = zlib.crc32(name.encode()), len(WORKER_USERS)
    return next(user for at in range(count) if (user := WORKER_USERS[(start + at) % count]) not in taken)
