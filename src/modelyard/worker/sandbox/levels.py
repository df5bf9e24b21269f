"""What this machine offers to confine workers with, and whether that is enough for what was asked for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelyard.errors import Unavailable

CHANGE_OWNER, READ_ANYTHING, READ_FILES, KILL_OTHERS, SET_GID, SET_UID = (1 << bit for bit in (0, 1, 2, 5, 6, 7))
"""CAP_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _KILL, _SETGID, _SETUID. Source: capabilities(7)."""
WORKER_USERS = range(61184, 65520)
"""Ids of users and groups, one for each worker: those that systemd keeps for services without a user of their own.
Source: systemd.exec(5), DynamicUser."""
STRICT_LANDLOCK = 3
"""The first version that keeps files from being emptied."""


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """What there is. `landlock`: its version, 0 for none. `other_user`: workers can run as users of their own."""

    landlock: int
    seccomp: bool
    other_user: bool

    def missing(self) -> list[str]:
        """What keeps a strict sandbox from being possible here, each in a few words; nothing when it is."""
        lacks = []
        if self.landlock < STRICT_LANDLOCK:
            lacks.append(f"Landlock {STRICT_LANDLOCK} or newer (Linux 6.2; here: {self.landlock or 'none'})")
        if not self.seccomp:
            lacks.append("seccomp filters (on x86_64 or aarch64)")
        return lacks

    @property
    def level(self) -> str:
        """The level that `auto` comes to here: strict, partial or off."""
        if not self.missing():
            return "strict"
        return "partial" if sys.platform == "linux" else "off"


@cache
def find_mechanisms() -> Mechanisms:
    """What this machine, and the rights of this process, offer."""
    if sys.platform != "linux":
        return Mechanisms(0, seccomp=False, other_user=False)
    from modelyard.worker.sandbox import landlock, seccomp, system

    version = landlock.version()
    have = system.permitted_capabilities()
    needed = SET_GID | SET_UID | CHANGE_OWNER | KILL_OTHERS  # to end one that runs as another user, too
    # Without Landlock, reading whatever has any mode would be worse than staying the same user.
    has_rights = os.geteuid() == 0 and not needed & ~have and bool(have & (READ_ANYTHING | READ_FILES))
    other_user = version > 0 and has_rights and maps_worker_users()
    return Mechanisms(version, seccomp.available(), other_user=other_user)


def maps_worker_users(process: Path = Path("/proc/self")) -> bool:
    """Whether all WORKER_USERS exist in the user namespace of a process, and it may leave its groups: root of a
    namespace of its own may lack both. `process`: its folder in /proc. Source: user_namespaces(7)."""
    try:
        maps = [(process / name).read_text() for name in ("uid_map", "gid_map")]
        return (process / "setgroups").read_text() == "allow\n" and all(map(has_worker_users, maps))
    except FileNotFoundError:  # a kernel without user namespaces
        return True


def has_worker_users(mapped: str) -> bool:
    """Whether a map of ids has all WORKER_USERS. Each of its lines is a range: its first id, that outside, its length;
    none overlap."""
    ranges = (line.split() for line in mapped.splitlines())
    found = sum(
        len(range(max(int(first), WORKER_USERS.start), min(int(first) + int(length), WORKER_USERS.stop)))
        for first, _, length in ranges
    )
    return found == len(WORKER_USERS)


def ensure_level(wanted: str) -> None:
    """Raises Unavailable when workers are to be confined strictly, and this machine cannot."""
    missing = find_mechanisms().missing()
    if wanted == "strict" and missing:
        raise Unavailable(f"Workers cannot be confined strictly here, for want of {' and '.join(missing)}.")
