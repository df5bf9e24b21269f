"""Where a replica fits, and what must go to make room: on its machine, and within what its account may hold.

Pure: counts, touches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from modelyard.units import GIB


@dataclass(frozen=True, slots=True)
class Tenant:
    """A replica that holds memory. `idle_s` None: busy, or its cluster's `min` keeps it; it must stay.
    `leaving`: its end was asked for and is a matter of moments. `name`: its model, as the one who asks may read it.
    `own`: it belongs to the account that asks."""

    replica_id: str
    name: str
    memory_bytes: int
    idle_s: float | None
    leaving: bool = False
    own: bool = False


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
    """It is larger than all there is for it. `reason` is for the client."""

    reason: str


Placement = Placed | Evict | Wait | Never


def gigabytes(count: int) -> str:
    """Bytes for a person."""
    return f"{count / GIB:.1f} GB" if count >= GIB / 10 else f"{count / 1024**2:.0f} MB"


def instances(count: int) -> str:
    """A number of replicas for a person."""
    return f"{count} instance{'' if count == 1 else 's'}"


def by_memory(memory_bytes: int) -> int:
    """What a replica takes up where bytes count."""
    return memory_bytes


def by_number(memory_bytes: int) -> int:
    """What a replica takes up where heads count."""
    return 1


@dataclass(frozen=True, slots=True)
class Limit:
    """What replicas may take up together, and how it is told: `never`, `wait` and `why` may name {need}, {most} and
    {free}. `size`: what one takes up, from its bytes. `own`: only those of the account that asks count."""

    size: Callable[[int], int]
    show: Callable[[int], str]
    own: bool
    never: str
    wait: str
    why: str = ""


MACHINE = Limit(
    size=by_memory,
    show=gigabytes,
    own=False,
    never="needs {need}, but replicas on this machine may use {most} in all. Serve a smaller model or raise "
    "--memory-gb.",
    wait="waiting for {need}, {free} free",
)
ACCOUNT_MEMORY = Limit(
    size=by_memory,
    show=gigabytes,
    own=True,
    never="needs {need}, but your account may hold {most} at once. Serve a smaller model, or have the limit raised: "
    "`modelyard accounts set NAME --max-memory-gb X`.",
    wait="waiting for {need}: your account may hold {most} at once, {free} of it free",
    why=": your account may hold {most} at once",
)
ACCOUNT_INSTANCES = Limit(
    size=by_number,
    show=instances,
    own=True,
    never="cannot start: your account may hold {most} at once. Have the limit raised: "
    "`modelyard accounts set NAME --max-instances N`.",
    wait="waiting for {need}: your account may hold {most} at once",
    why=": your account may hold {most} at once",
)


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit in force. `claimed`: what those who asked before were promised of what is free or about to be."""

    most: int
    claimed: int = 0
    limit: Limit = MACHINE

    def tell(self, words: str, need: int, free: int) -> str:
        """One of the limit's sentences with its numbers."""
        show = self.limit.show
        return words.format(need=show(need), most=show(self.most), free=show(max(0, free)))


def place_within(need_bytes: int, bounds: Sequence[Bound], tenants: Sequence[Tenant], *, may_evict: bool) -> Placement:
    """Decides for one replica of `need_bytes` that must keep within all of the `bounds`; nobody goes in vain."""
    for bound in bounds:
        if bound.limit.size(need_bytes) > bound.most:
            return place(need_bytes, bound, tenants, may_evict=may_evict)
    must_wait: Evict | None = None
    going: tuple[Tenant, ...] = ()
    for bound in bounds:
        match place(need_bytes, bound, tenants, may_evict=may_evict):
            case Evict(victims) as must_wait:  # the later reason names those of the earlier ones too: they are leaving
                going += victims
                tenants = [replace(tenant, leaving=tenant.leaving or tenant in victims) for tenant in tenants]
            case Wait() | Never() as verdict:
                return verdict
    return Placed() if must_wait is None else Evict(going, must_wait.reason)


def place(need_bytes: int, bound: Bound, tenants: Sequence[Tenant], *, may_evict: bool) -> Placement:
    """Decides for one replica of `need_bytes` within one bound, where `tenants` hold memory.

    Evicts the longest idle first, and then spares those of them that were not needed after all.
    """
    limit = bound.limit
    tenants = [tenant for tenant in tenants if tenant.own or not limit.own]
    need = limit.size(need_bytes)
    if need > bound.most:
        return Never(bound.tell(limit.never, need, 0))
    free = bound.most - sum(limit.size(tenant.memory_bytes) for tenant in tenants)
    leaving = [tenant for tenant in tenants if tenant.leaving]
    soon = free + sum(limit.size(tenant.memory_bytes) for tenant in leaving) - bound.claimed
    why = bound.tell(limit.why, need, free)
    if need <= min(free, soon):
        return Placed()
    if need <= soon:
        return Evict((), f"waiting for {names(leaving)} to leave{why}")
    if may_evict and (victims := choose_victims(need - soon, tenants, limit.size)):
        return Evict(victims, f"waiting for {names([*leaving, *victims])} to leave{why}")
    busy = names(tenant for tenant in tenants if tenant.idle_s is None and not tenant.leaving)
    because = f"; busy: {busy}" if busy else ""
    return Wait(bound.tell(limit.wait, need, min(free, soon)) + because)


def choose_victims(
    missing: int, tenants: Sequence[Tenant], size: Callable[[int], int] = by_memory
) -> tuple[Tenant, ...]:
    """Idle tenants that free at least `missing`, longest idle first; empty when they cannot."""
    idle = [(tenant.idle_s, tenant) for tenant in tenants if tenant.idle_s is not None and not tenant.leaving]
    chosen: list[Tenant] = []
    freed = 0
    for _, tenant in sorted(idle, key=lambda pair: -pair[0]):
        if freed >= missing:
            break
        chosen.append(tenant)
        freed += size(tenant.memory_bytes)
    if freed < missing:
        return ()
    for tenant in reversed(list(chosen)):  # the last chosen, the least idle, are spared first
        if freed - size(tenant.memory_bytes) >= missing:
            chosen.remove(tenant)
            freed -= size(tenant.memory_bytes)
    return tuple(chosen)


def names(tenants: Iterable[Tenant]) -> str:
    """Each model once, for a person."""
    return ", ".join(sorted({tenant.name for tenant in tenants}))
