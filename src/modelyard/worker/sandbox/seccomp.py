"""The system calls that a worker may not make: no processes, no sockets, no debugging, no administration.

Makes a filter for the kernel and applies it. A filter of our own rather than libseccomp's: that is a system library
which many images lack, and what is needed is one list. Source: seccomp(2), linux/filter.h, linux/audit.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from modelyard.worker.sandbox.system import AARCH64, MACHINE, PR_SET_SECCOMP, X86_64, control, forbid_new_privileges

ARCHITECTURES = {X86_64: 0xC000003E, AARCH64: 0xC00000B7}
NEWEST = 450
"""set_mempolicy_home_node, of Linux 5.17. Programs do without what is newer, as they would on an older kernel."""
FORBIDDEN = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "setsid": (112, 157),
    "setpgid": (109, 154), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "perf_event_open": (298, 241), "tkill": (200, 130),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsmount": (432, 432), "fsconfig": (431, 431),
    "fspick": (433, 433), "mount_setattr": (442, 442), "setns": (308, 268), "unshare": (272, 97), "bpf": (321, 280),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None), "personality": (135, 92),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "vhangup": (153, 58), "modify_ldt": (154, None),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "uselib": (134, None), "mknod": (133, None), "mknodat": (259, 33),
}  # fmt: skip
"""Answered with EPERM. Numbers on x86_64, on aarch64. Source: asm/unistd_64.h, asm-generic/unistd.h."""
WITHOUT_EFFECT = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "utime": (132, None), "utimes": (235, None),
    "utimensat": (280, 88), "futimesat": (261, None), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "setpriority": (141, 140), "ioprio_set": (251, 30),
}  # fmt: skip
"""Change other processes and other files of the same user, and libraries make them of their own: they seem to work."""
NETWORK = {"socket": (41, 198), "connect": (42, 203)}
CLONE, CLONE3, PRCTL, PRLIMIT = (56, 220), (435, 435), (157, 167), (302, 261)
SOCKETPAIR, BIND, LISTEN = (53, 199), (49, 200), (50, 201)
MMAP, MAP_SHARED_ANONYMOUS = (9, 222), 0x21
SIGNALLING = ((62, 129), (234, 131), (129, 138), (297, 240))
"""kill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo."""
CLONE_THREAD = 0x10000
FORBIDDEN_CONTROLS = (1, 4, 35, 0x59616D61)
"""PR_SET_PDEATHSIG (it dies with the server), PR_SET_DUMPABLE, PR_SET_MM, PR_SET_PTRACER. Source: linux/prctl.h."""
AF_UNIX, SOCK_STREAM, SOCK_TYPE_MASK = 1, 1, 0xF
SOCKET_FAMILIES = (2, 10, 16)
"""AF_INET, AF_INET6, AF_NETLINK (which getaddrinfo asks for addresses)."""
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, JUMP_EQUAL, JUMP_GREATER, JUMP_SET, AND, RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
NUMBER_OFFSET, ARCHITECTURE_OFFSET, FIRST_ARGUMENT_OFFSET = 0, 4, 16

Instruction = tuple[int, int, int, int]


def apply_filter(
    pid: int, listeners: Sequence[int], *, network: bool, shared_memory: bool, own_socket: bool = False
) -> None:
    """From now on, for all threads of this process, the filter holds. Raises OSError."""
    instructions = plan_filter(
        MACHINE, pid, listeners, network=network, shared_memory=shared_memory, own_socket=own_socket
    )
    program = b"".join(struct.pack("HBBI", *each) for each in instructions)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    forbid_new_privileges()
    control(PR_SET_SECCOMP, 2, header)


def plan_filter(
    machine: str,
    pid: int,
    listeners: Sequence[int],
    *,
    network: bool,
    shared_memory: bool,
    own_socket: bool = False,
) -> list[Instruction]:
    """The filter of a process with that pid. `listeners`: descriptors on which it may listen. `network`: it may open
    connections to others by IP. `shared_memory`: it may map memory without a file that no limit of data counts, as the
    drivers of accelerators do. `own_socket`: without a network it may make Unix sockets for streams, bind them
    and listen on them; it connects to none."""
    column = machine == AARCH64
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_OFFSET),
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_OFFSET),
        (JUMP_GREATER, 0, 1, NEWEST),
        refuse(errno.ENOSYS),
    ]

    def add(numbers: tuple[int | None, int | None], *rest: Instruction) -> None:
        """`rest` decides about a call; what it jumps past is another one."""
        if (number := numbers[column]) is not None:
            program.extend([(JUMP_EQUAL, 0, len(rest), number), *rest])

    if not shared_memory:
        add(MMAP, argument(3), (AND, 0, 0, MAP_SHARED_ANONYMOUS), (JUMP_EQUAL, 0, 1, MAP_SHARED_ANONYMOUS),
            refuse(errno.EPERM), allow())  # fmt: skip
    for numbers in FORBIDDEN.values():
        add(numbers, refuse(errno.EPERM))
    for numbers in WITHOUT_EFFECT.values():
        add(numbers, refuse(0))
    add(CLONE3, refuse(errno.ENOSYS))  # its flags are in memory, out of a filter's sight; the C library then uses clone
    add(CLONE, argument(0), (JUMP_SET, 0, 1, CLONE_THREAD), allow(), refuse(errno.EPERM))
    add(PRCTL, argument(0), *refuse_each(FORBIDDEN_CONTROLS), allow())
    add(PRLIMIT, argument(0), *allow_each((0, pid)))
    for each in SIGNALLING:
        add(each, argument(0), *allow_each((0, pid)))
    if own_socket and not network:
        add(NETWORK["socket"], argument(0), (JUMP_EQUAL, 1, 0, AF_UNIX), refuse(errno.EPERM),
            argument(1), (AND, 0, 0, SOCK_TYPE_MASK), *allow_each((SOCK_STREAM,)))  # fmt: skip
    else:
        add(BIND, refuse(errno.EPERM))
        add(LISTEN, argument(0), *allow_each(listeners))
    add(SOCKETPAIR, argument(0), (JUMP_EQUAL, 1, 0, AF_UNIX), refuse(errno.EPERM),
        argument(1), (AND, 0, 0, SOCK_TYPE_MASK), *allow_each((SOCK_STREAM,)))  # fmt: skip
    if network:
        add(NETWORK["socket"], argument(0), *allow_each(SOCKET_FAMILIES))
    else:
        for numbers in NETWORK.values():
            add(numbers, refuse(errno.EPERM))
    return [*program, allow()]


def argument(index: int) -> Instruction:
    """Loads the lower half of an argument."""
    return (LOAD, 0, 0, FIRST_ARGUMENT_OFFSET + 8 * index)


def allow() -> Instruction:
    """Lets the call happen."""
    return (RETURN, 0, 0, ALLOW)


def refuse(number: int) -> Instruction:
    """Answers the call with an error; 0: with success, though nothing happens."""
    return (RETURN, 0, 0, ERRNO | number)


def refuse_each(values: Sequence[int]) -> list[Instruction]:
    """Refuses the call when what was loaded is one of `values`, else goes on."""
    return [each for value in values for each in ((JUMP_EQUAL, 0, 1, value), refuse(errno.EPERM))]


def allow_each(values: Sequence[int]) -> list[Instruction]:
    """Allows the call when what was loaded is one of `values`, else refuses it."""
    allowed = [each for value in values for each in ((JUMP_EQUAL, 0, 1, value), allow())]
    return [*allowed, refuse(errno.EPERM)]


def available() -> bool:
    """Whether the kernel takes filters, and one can be made for this kind of machine."""
    return MACHINE in ARCHITECTURES and os.path.exists("/proc/sys/kernel/seccomp/actions_avail")
