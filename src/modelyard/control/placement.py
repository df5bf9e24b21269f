"""Where a replica fits, and what must go to make room. Pure: counts bytes, touches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.types import GIB


@dataclass(frozen=True, slots=True)
class Tenant:
    """A replica that holds memory. `idle_s` None: busy, or its cluster's `min` keeps it; it must stay."""

    replica_id: str
    model_id: str
    memory_bytes: int
    idle_s: float | None


@dataclass(frozen=True, slots=True)
class Placed:
    """There is room now."""


@dataclass(frozen=True, slots=True)
class Evict:
    """There is room once these idle replicas are gone."""

    tenants: tuple[Tenant, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """There is no room until something ends. `reason` is for the event log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Never:
    """It is larger than the machine. `reason` is for the client."""

    reason: str


Placement = Placed | Evict | Wait | Never


def place(need_bytes: int, node_bytes: int, tenants: Sequence[Tenant], *, may_evict: bool) -> Placement:
    """Decides for one replica of `need_bytes` on a node of `node_bytes` where `tenants` hold memory.

    Evicts the longest idle first, and then spares those of them that were not needed after all.
    """
    if need_bytes > node_bytes:
        return Never(
            f"needs {gigabytes(need_bytes)}, but replicas on this machine may use {gigabytes(node_bytes)} in all. "
            "Serve a smaller model or raise --memory."
        )
    free = node_bytes - sum(tenant.memory_bytes for tenant in tenants)
    if need_bytes <= free:
        return Placed()
    if may_evict and (victims := choose_victims(need_bytes - free, tenants)):
        return Evict(victims)
    busy = sorted({tenant.model_id for tenant in tenants if tenant.idle_s is None})
    because = f"; busy: {', '.join(busy)}" if busy else ""
    return Wait(f"waiting for {gigabytes(need_bytes)}, {gigabytes(max(0, free))} free{because}")


def choose_victims(missing_bytes: int, tenants: Sequence[Tenant]) -> tuple[Tenant, ...]:
    """Idle tenants that free at least `missing_bytes`, longest idle first; empty when they cannot."""
    idle = [(tenant.idle_s, tenant) for tenant in tenants if tenant.idle_s is not None]
    chosen: list[Tenant] = []
    freed = 0
    for _, tenant in sorted(idle, key=lambda pair: -pair[0]):
        if freed >= missing_bytes:
            break
        chosen.append(tenant)
        freed += tenant.memory_bytes
    if freed < missing_bytes:
        return ()
    for tenant in reversed(list(chosen)):  # the last chosen, the least idle, are spared first
        if freed - tenant.memory_bytes >= missing_bytes:
            chosen.remove(tenant)
            freed -= tenant.memory_bytes
    return tuple(chosen)


def gigabytes(count: int) -> str:
    """Bytes for a person."""
    return f"{count / GIB:.1f} GB" if count >= GIB / 10 else f"{count / 1024**2:.0f} MB"
