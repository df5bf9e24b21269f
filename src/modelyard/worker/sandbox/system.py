"""System calls that Python has no function for. Knows their numbers and nothing of what they are for. Linux only."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

X86_64, AARCH64 = "x86_64", "aarch64"
MACHINE = platform.machine()
PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 8, 22, 38  # Source: linux/prctl.h
CAPABILITY_VERSION_3 = 0x20080522  # Source: linux/capability.h
NUMBERS = {"capget": (125, 90), "capset": (126, 91), "landlock_create_ruleset": (444, 444),
           "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446)}  # fmt: skip
"""On x86_64, on aarch64. Source: asm/unistd_64.h, asm-generic/unistd.h."""

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Makes a system call; its result. Raises OSError."""
    number = NUMBERS[name][MACHINE == AARCH64]
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(_libc.syscall(ctypes.c_long(number), *words), name)


def control(option: int, *arguments: int | bytes) -> int:
    """prctl(2). Raises OSError."""
    words = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    return checked(_libc.prctl(option, *words, *[ctypes.c_ulong(0)] * (4 - len(words))), "prctl")


def checked(result: int, name: str) -> int:
    """The result of a call into C. Raises OSError when it says that there was an error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def permitted_capabilities() -> int:
    """This process's permitted capabilities, a bit for each. Source: capget(2)."""
    data = ctypes.create_string_buffer(24)
    call("capget", struct.pack("Ii", CAPABILITY_VERSION_3, 0), data)
    _, low, _, _, high, _ = struct.unpack("6I", data.raw)
    return int(low | high << 32)


def keep_capabilities(kept: int) -> None:
    """Gives up all capabilities but those whose bits are set. Raises OSError."""
    low, high = kept & 0xFFFFFFFF, kept >> 32
    call("capset", struct.pack("Ii", CAPABILITY_VERSION_3, 0), struct.pack("6I", low, low, 0, high, high, 0))


def forbid_new_privileges() -> None:
    """No program this process executes gets more rights than it has itself. Raises OSError."""
    control(PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Other processes of this user may no longer read this one's memory or environment, and it dumps no core."""
    control(PR_SET_DUMPABLE, 0)
