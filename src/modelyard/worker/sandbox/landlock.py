"""Landlock: of the file system only what is named, no TCP, no signals or abstract sockets to others.

Builds and applies a rule set; does not know what a worker needs. Source: landlock(7), linux/landlock.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from modelyard.worker.sandbox.system import call, forbid_new_privileges

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_SYM = 1 << 7, 1 << 8, 1 << 9, 1 << 12
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
ALL_RIGHTS = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
"""Rights to files by the version that brought them."""
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that a file which is no folder can have."""
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | TRUNCATE
USE = READ | WRITE_FILE | IOCTL_DEV
"""For devices."""
TCP = 3
"""Binding and connecting."""
SCOPES = 3
"""Abstract Unix sockets and signals."""
NETWORK_VERSION, SCOPE_VERSION = 4, 6
VERSION_FLAG = RULE_PATH_BENEATH = 1


def version() -> int:
    """The version of Landlock that the kernel has; 0: none."""
    try:
        return call("landlock_create_ruleset", None, 0, VERSION_FLAG)
    except OSError:
        return 0


class Rules:
    """A rule set in the making. Everything it does not allow is forbidden once `apply` was called."""

    def __init__(self, version: int, *, network: bool) -> None:
        """`version`: the kernel's, at least 1. `network`: TCP stays allowed. Raises OSError."""
        self._rights = sum(rights for since, rights in ALL_RIGHTS if since <= version)
        tcp = TCP if version >= NETWORK_VERSION and not network else 0
        scopes = SCOPES if version >= SCOPE_VERSION else 0
        size = 24 if version >= SCOPE_VERSION else 16 if version >= NETWORK_VERSION else 8
        attributes = struct.pack("QQQ", self._rights, tcp, scopes)[:size]
        self._number = call("landlock_create_ruleset", attributes, size, 0)

    def allow(self, paths: Iterable[str], rights: int) -> None:
        """Allows `rights` to each file, or folder with all below it; one that is not there is left out."""
        for path in paths:
            try:
                opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                self.allow_opened(opened, rights)
            finally:
                os.close(opened)

    def allow_opened(self, descriptor: int, rights: int) -> None:
        """Allows `rights` to what a descriptor stands for. Raises OSError."""
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):
            rights &= ON_FILES
        rule = struct.pack("=Qi", rights & self._rights, descriptor)
        call("landlock_add_rule", self._number, RULE_PATH_BENEATH, rule, 0)

    def apply(self) -> None:
        """From now on, for this thread and all that it starts, the rules hold. Raises OSError."""
        forbid_new_privileges()
        call("landlock_restrict_self", self._number, 0)
        os.close(self._number)
