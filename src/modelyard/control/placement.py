"""Where a replica fits, and what must go to make room. Pure: counts bytes, touches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelyard.types import GIB


@dataclass(frozen=True, slots=True)
class Tenant:
    """A replica that holds memory. `idle_s` None: busy, or its cluster's `min` keeps it; it must stay.
    `leaving`: its end was asked for and is a matter of moments. `name`: its model, as the one who asks may read it."""

    replica_id: str
    name: str
    memory_bytes: int
    idle_s: float | None
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """There is room now."""


@dataclass(frozen=True, slots=True)
class Evict:
    """There is room once those that are leaving, and these idle ones (often none), are gone."""

    tenants: tuple[Tenant, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """There is no room until something ends. `reason` is for the event log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Never:
    """It is larger than the machine. `reason` is for the client."""

    reason: str


Placement = Placed | Evict | Wait | Never


def place(
    need_bytes: int, node_bytes: int, tenants: Sequence[Tenant], *, may_evict: bool, claimed_bytes: int = 0
) -> Placement:
    """Decides for one replica of `need_bytes` on a node of `node_bytes` where `tenants` hold memory.

    `claimed_bytes`: what those who asked before were promised of the memory that is free or about to be.
    Evicts the longest idle first, and then spares those of them that were not needed after all.
    """
    if need_bytes > node_bytes:
        return Never(
            f"needs {gigabytes(need_bytes)}, but replicas on this machine may use {gigabytes(node_bytes)} in all. "
            "Serve a smaller model or raise --memory-gb."
        )
    free = node_bytes - sum(tenant.memory_bytes for tenant in tenants)
    leaving = [tenant for tenant in tenants if tenant.leaving]
    soon = free + sum(tenant.memory_bytes for tenant in leaving) - claimed_bytes
    if need_bytes <= min(free, soon):
        return Placed()
    if need_bytes <= soon:
        return Evict((), f"waiting for {names(leaving)} to leave")
    if may_evict and (victims := choose_victims(need_bytes - soon, tenants)):
        return Evict(victims, f"waiting for {names([*leaving, *victims])} to leave")
    busy = names(tenant for tenant in tenants if tenant.idle_s is None and not tenant.leaving)
    because = f"; busy: {busy}" if busy else ""
    return Wait(f"waiting for {gigabytes(need_bytes)}, {gigabytes(max(0, min(free, soon)))} free{because}")


def choose_victims(missing_bytes: int, tenants: Sequence[Tenant]) -> tuple[Tenant, ...]:
    """Idle tenants that free at least `missing_bytes`, longest idle first; empty when they cannot."""
    idle = [(tenant.idle_s, tenant) for tenant in tenants if tenant.idle_s is not None and not tenant.leaving]
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


def names(tenants: Iterable[Tenant]) -> str:
    """Each model once, for a person."""
    return ", ".join(sorted({tenant.name for tenant in tenants}))


def gigabytes(count: int) -> str:
    """Bytes for a person."""
    return f"{count / GIB:.1f} GB" if count >= GIB / 10 else f"{count / 1024**2:.0f} MB"
