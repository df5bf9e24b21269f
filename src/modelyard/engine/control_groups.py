"""What Linux's control groups allow this process, in a container or as a service. Reads files, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""Lines of `number:controllers:path`; the one without controllers is of the second version. Source: cgroups(7)."""
FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max", "pids.max")}
"""Controller → the file with its limit, in the second version of control groups and in the first."""

Controller = Literal["memory", "pids"]


def find_limit(controller: Controller, groups: Path = GROUPS, own: Path = OWN) -> int | None:
    """The least limit of the groups that this process is in: bytes, or a number of processes and threads; None: there
    is none."""
    limits = []
    for path in _limit_files(controller, groups, own):
        try:
            limits.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # a group seen from inside a container, or one without a limit: "max"
            continue
    return min(limits, default=None)


def _limit_files(controller: Controller, groups: Path, own: Path) -> Iterator[Path]:
    """The files that may have one, of each group and those above it. A container sees its own group at the root."""
    second, first = FILES[controller]
    yield groups / second
    yield groups / controller / first
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or controller in controllers.split(","):
            root, name = (groups, second) if controllers == "" else (groups / controller, first)
            relative = PurePosixPath(path.lstrip("/"))
            yield from (root / each / name for each in (relative, *relative.parents))
