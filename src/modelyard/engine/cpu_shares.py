"""How processors are shared: how many threads each worker has, by who is used (docs/decisions/0085-threads-by-use.md),
and that the workers of each account together weigh as much as those of any other.

The latter by nice values, which every Linux has, and which may rise without any rights
(docs/decisions/0028-cpu-shares.md).
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from modelyard.records.replicas import ReplicaSpec

NICE_STEP = 1.25
"""A process that is nicer by one gets less by this factor. Source: `sched_prio_to_weight` in the Linux kernel."""
MOST_NICE = 19
LOOK_EVERY_S = 0.5
"""How often it is looked which replicas are used, while some are."""
RECENT_LOOKS = 3
"""A replica is in use when it was used in one of so many: of what others ask of a worker it tells once a second."""
STEADY_LOOKS = 4
"""A replica that was in use for so many looks in a row has a share among as many as were in use in those at most: a
runtime may need tens of milliseconds for another number of threads, so that it is not to change with each request."""
REST_LOOKS = 20
"""One that was used in none of so many has what it would have if all were used: they may all be next."""

BUSY_CORES = 0.2
"""Of what the server computes itself, so much is no reason to leave a core to it, and more at one look neither; two
threads of one operation wait for each other where one of them has to share its core."""
IDLE_CORES = 0.1
"""A core that was left to it is given back below so much: what it computes swings."""


def plan_threads(cores: int, replicas: int, spec: ReplicaSpec) -> int:
    """Threads of one operation of a replica, one of so many: its share, for too many at once are several times slower
    than too few, and no more than it may have."""
    threads = cores if spec.all_cores else max(1, cores // max(1, replicas))
    return min(threads, spec.most_threads or threads)


class CoreShares:
    """How many threads each replica of a machine has: a share of its cores among those that are used, where it has been
    used for a while; else among all.

    Nothing in it is done by itself: `look` at regular times, while `is_moving`.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._left_to_server = 0
        self._server_cores: deque[float] = deque(maxlen=RECENT_LOOKS)
        self._used_at_once: deque[int] = deque(maxlen=STEADY_LOOKS)
        self._used_for: dict[str, int] = {}
        self._unused_for: dict[str, int] = {}
        self._threads: dict[str, int] = {}

    @property
    def is_moving(self) -> bool:
        """Whether there is something to find by looking on."""
        return any(unused < REST_LOOKS for unused in self._unused_for.values())

    def look(self, used: Collection[str], server_cores: float = 0.0) -> None:
        """Takes which replicas were used since the last look, and how many cores the server itself has kept busy."""
        self._server_cores.append(server_cores)
        least, mean = min(self._server_cores), sum(self._server_cores) / len(self._server_cores)
        steady = least if len(self._server_cores) == RECENT_LOOKS else 0.0  # starting a worker keeps it busy once
        most = math.ceil(max(0.0, mean - IDLE_CORES))
        self._left_to_server = min(max(self._left_to_server, math.ceil(max(0.0, steady - BUSY_CORES))), most)
        for replica_id in {*self._unused_for, *used}:
            self._unused_for[replica_id] = 0 if replica_id in used else self._unused_for[replica_id] + 1
            in_use = self._unused_for[replica_id] < RECENT_LOOKS
            self._used_for[replica_id] = self._used_for.get(replica_id, 0) + 1 if in_use else 0
        self._used_at_once.append(sum(looks > 0 for looks in self._used_for.values()))

    def plan(self, specs: Mapping[str, ReplicaSpec]) -> Mapping[str, int]:
        """Threads of one operation of each replica that there is, by its id; forgets the others."""
        for gone in self._unused_for.keys() - specs.keys():
            del self._unused_for[gone], self._used_for[gone]
        self._threads = {replica_id: self._plan_one(replica_id, spec, len(specs)) for replica_id, spec in specs.items()}
        return self._threads

    def _plan_one(self, replica_id: str, spec: ReplicaSpec, replicas: int) -> int:
        if self._unused_for.get(replica_id, REST_LOOKS) >= REST_LOOKS:
            return plan_threads(self._cores, replicas, spec)
        cores = max(1, self._cores - self._left_to_server)
        share = plan_threads(cores, replicas, spec)
        among_used = max(share, plan_threads(cores, max(self._used_at_once), spec))
        if self._used_for[replica_id] >= STEADY_LOOKS:
            return among_used
        return min(among_used, max(share, self._threads.get(replica_id, share)))


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
