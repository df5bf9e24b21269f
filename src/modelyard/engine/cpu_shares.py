"""How processors are shared: how many threads each worker has, and that the workers of each account together weigh as
much as those of any other.

By nice values, which every Linux has, and which may rise without any rights (docs/decisions/0028-cpu-shares.md).
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from modelyard.records.replicas import ReplicaSpec

NICE_STEP = 1.25
"""A process that is nicer by one gets less by this factor. Source: `sched_prio_to_weight` in the Linux kernel."""
MOST_NICE = 19


def plan_threads(cores: int, replicas: int, spec: ReplicaSpec) -> int:
    """Threads of one operation of a replica, one of so many: its share, for too many at once are several times slower
    than too few, and no more than it may have."""
    threads = cores if spec.all_cores else max(1, cores // max(1, replicas))
    return min(threads, spec.most_threads or threads)


def plan_nice(workers: int) -> int:
    """How much nicer so many workers must be to weigh together about as much as one alone."""
    return round(math.log(max(1, workers), NICE_STEP))


def set_nice(pid: int, more: int) -> bool:
    """Makes every thread of a process so much nicer than this one; threads that start later take after those.

    False when the process has ended, or may not become less nice: for that the server needs CAP_SYS_NICE.
    """
    value = min(MOST_NICE, os.getpriority(os.PRIO_PROCESS, 0) + more)
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # a thread that has ended meanwhile
                os.setpriority(os.PRIO_PROCESS, int(thread.name), value)
        return True
    return False
