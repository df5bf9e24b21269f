"""What this machine offers to confine workers with, and whether that is enough for what was asked for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache

from modelyard.errors import Unavailable

CHANGE_OWNER, READ_ANYTHING, READ_FILES, KILL_OTHERS, SET_GID, SET_UID = (1 << bit for bit in (0, 1, 2, 5, 6, 7))
"""CAP_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _KILL, _SETGID, _SETUID. Source: capabilities(7)."""
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
    can_change = os.geteuid() == 0 and not needed & ~have and bool(have & (READ_ANYTHING | READ_FILES))
    return Mechanisms(version, seccomp.available(), other_user=can_change and version > 0)


def ensure_level(wanted: str) -> None:
    """Raises Unavailable when workers are to be confined strictly, and this machine cannot."""
    missing = find_mechanisms().missing()
    if wanted == "strict" and missing:
        raise Unavailable(f"Workers cannot be confined strictly here, for want of {' and '.join(missing)}.")
