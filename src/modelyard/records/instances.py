"""The lives of replicas as the ledger keeps them, and the terms they are billed under."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Tariff:
    """The terms an instance is billed under, kept with it so that its bill can be computed again at any time.

    `pico_per_gb_s`: US dollars × 10^12 for one GB of required memory (2^30 bytes) and second. What counts is billed for
    `minimum_s` at least and then rounded up to a multiple of `round_s`, in seconds (0: neither). `counts`: `ready`, the
    time from ready to end (what was taken back while it booted has `life` instead); `life`, the time that it had a
    process; `inference`, only the seconds that requests took (then the instance itself costs nothing, its requests do).
    """

    pico_per_gb_s: int
    minimum_s: int = 60
    round_s: int = 60
    counts: str = "ready"


@dataclass(frozen=True, slots=True)
class Instance:
    """One replica's life as the ledger sees it. `ended_at` None: still running, or the server was killed.
    `created_at`: when it was asked for; `started_at`: when its process began, None when it never did.

    `heartbeat_at` is the last moment it was known alive; after a crash the interval is closed there.
    `pid` and `pid_started` (clock ticks since boot, from /proc) name the process, for finding strays.
    `tariff` None: it is nobody's bill. `server_id`: the server that runs it.
    """

    id: str
    cluster_id: str
    account_id: str
    model_id: str
    node: str
    memory_bytes: int
    created_at: datetime
    heartbeat_at: datetime
    ready_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    pid: int | None = None
    pid_started: int | None = None
    tariff: Tariff | None = None
    server_id: str | None = None
    started_at: datetime | None = None
