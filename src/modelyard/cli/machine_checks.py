"""What `modelyard doctor` asks of the machine: its clock, and what it allows one process and its children. Changes
nothing."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from modelyard.cli.findings import Finding, Level
from modelyard.config import Settings
from modelyard.engine.control_groups import find_limit
from modelyard.units import GIB, gigabytes

RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
"""No clock that is right shows an earlier time than this release's."""
TIMEX_BYTES = 256
"""More than `struct timex` has anywhere. All zeros ask and set nothing. Source: adjtimex(2)."""
UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""
FEW_OPEN_FILES = 4096 + 512
"""With fewer there are fewer connections at once than `--max-connections` has by default."""
FEW_PROCESSES = 1024
"""Each replica has some ten threads, which count."""
LITTLE_MEMORY_BYTES = 2 * GIB
LITTLE_TEMPORARY_BYTES = GIB
LITTLE_SHARED_BYTES = 128 * 1024**2
"""Ray's object store of 80 MB, as deploy/by-hand sets it, and a reserve."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, not written to


def check_clock(settings: Settings) -> Finding:
    """Whether the clock can be right. Bills, leases and keys' days are reckoned by it."""
    now = datetime.now(UTC)
    fix = "let the machine's clock follow a time server: systemd-timesyncd, chrony"
    if now < RELEASED:
        return Finding("clock", Level.FAIL, f"says {now:%Y-%m-%d %H:%M} UTC, which is past", fix)
    if is_unsynchronised():
        found = f"{now:%Y-%m-%d %H:%M} UTC; the system says that it follows no other clock"
        return Finding("clock", Level.WARN, found, f"{fix}; in a container or a virtual machine the host's may do so")
    return Finding("clock", Level.OK, f"{now:%Y-%m-%d %H:%M} UTC")


def is_unsynchronised() -> bool:
    """Whether Linux says that its clock follows no other. False where it cannot be asked."""
    if sys.platform != "linux":
        return False
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return state == UNSYNCHRONISED


def check_open_files(settings: Settings) -> Finding:
    """How many files a process may have open, connections among them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(FEW_OPEN_FILES, settings.max_connections)
    if most != resource.RLIM_INFINITY and most < wanted:
        found = f"{most:,} at most, of which connections are a part"
        return Finding("files", Level.WARN, found, f"allow {wanted:,}: ulimit -Hn, or LimitNOFILE= of a service")
    return Finding("files", Level.OK, "no limit" if most == resource.RLIM_INFINITY else f"{most:,} at most")


def check_processes(settings: Settings) -> Finding:
    """How many processes and threads there may be."""
    _, own = resource.getrlimit(resource.RLIMIT_NPROC)
    limits = [] if own == resource.RLIM_INFINITY or os.geteuid() == 0 else [own]  # the system lets root have any
    group = find_limit("pids")
    most = min([*limits, *([] if group is None else [group])], default=None)
    if most is not None and most < FEW_PROCESSES:
        fix = f"allow {FEW_PROCESSES:,} or more: ulimit -u, TasksMax= of a service, --pids-limit of a container"
        return Finding("processes", Level.WARN, f"{most:,} at most, threads counted; a replica has some ten", fix)
    return Finding("processes", Level.OK, "no limit" if most is None else f"{most:,} at most, threads counted")


def check_memory(settings: Settings) -> Finding:
    """What replicas may have."""
    from modelyard.engine.machine import usable_memory_bytes

    group, usable = find_limit("memory"), usable_memory_bytes()
    budget = int(settings.memory_gb * GIB) or usable
    found = f"{gigabytes(budget)} for replicas"
    if budget > usable:
        fix = f"set --memory-gb to {usable / GIB:.1f} at most, or end what else takes memory"
        return Finding("memory", Level.WARN, f"{found}, but {gigabytes(usable)} are there at this moment", fix)
    if budget < LITTLE_MEMORY_BYTES:
        limited = group is not None and group < 2 * LITTLE_MEMORY_BYTES
        fix = "allow the container or service more" if limited else "end what else takes memory, or add some"
        return Finding("memory", Level.WARN, f"{found}: small models only", fix)
    return Finding("memory", Level.OK, found)


def check_temporary(settings: Settings) -> Finding:
    """Room for what workers and jobs write for a while."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    found = f"{gigabytes(free)} free at {folder}"
    if free < LITTLE_TEMPORARY_BYTES:
        return Finding("temporary", Level.WARN, found, "make room there, or set TMPDIR to a folder that has some")
    return Finding("temporary", Level.OK, found)


def check_shared_memory(settings: Settings) -> Finding:
    """What Ray keeps its objects in. Nothing else here uses it."""
    if settings.engine != "ray":
        return Finding("shared", Level.OK, "shared memory is not used with this engine")
    size = shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.is_dir() else 0
    if size < LITTLE_SHARED_BYTES:
        found = f"{gigabytes(size)} of shared memory at {SHARED_MEMORY}, which Ray keeps its objects in"
        return Finding("shared", Level.WARN, found, "give the container more: --shm-size 256m")
    return Finding("shared", Level.OK, f"{gigabytes(size)} of shared memory at {SHARED_MEMORY}")
