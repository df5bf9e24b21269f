"""A simulated cluster's servers, one of which leads, by the real lease: the next one follows when it dies.

Owns a server's parts from the moment it leads until it dies, and the lease's row. Decides nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

from modelyard.catalog.catalog import Catalog
from modelyard.clock import Clock, SteadyClock
from modelyard.control.journal import Journal
from modelyard.control.lease import Leadership
from modelyard.control.parts import assemble
from modelyard.control.plane import Plane
from modelyard.control.policy import Policy
from modelyard.control.records import Records
from modelyard.control.routes import Route, Routes
from modelyard.control.work_queue import WorkQueue
from modelyard.errors import LeaseLost
from modelyard.records.accounts import Quota
from modelyard.records.clusters import Capacity
from modelyard.records.instances import Tariff
from modelyard.records.leases import NOWHERE, LeaderAddress, Lease
from modelyard.simulation.engine import SimulatedEngine
from modelyard.simulation.ledger import Ledger
from modelyard.store.leases import Leases

REST_S = 0.005
"""Between two turns of the control loop at least, which is what a busy server's takes."""


class MemoryLeases:
    """As `store.leases.Leases`, by the clock of the simulation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lease: Lease | None = None

    def take(self, holder: str, holder_name: str, for_s: float, address: LeaderAddress = NOWHERE) -> Lease | None:
        """The lease, unless it is another's for now."""
        before, now = self._lease, self._clock.now()
        if before is not None and before.holder != holder and before.until > now:
            return None
        token = 1 if before is None else before.token + 1
        self._lease = Lease(token, holder, holder_name, now + timedelta(seconds=for_s), address)
        return self._lease

    def renew(self, token: int, for_s: float) -> bool:
        """Has the lease of that token end so long from now; False: another holds it."""
        if self._lease is None or self._lease.token != token:
            return False
        self._lease = replace(self._lease, until=self._clock.now() + timedelta(seconds=for_s))
        return True

    def as_leases(self) -> Leases:
        """Itself, for whoever means no more of it than there is here."""
        return cast(Leases, self)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all servers of a simulated cluster work with. `leases`: None where there is one server, which never dies."""

    engine: SimulatedEngine
    catalog: Catalog
    ledger: Ledger
    clock: Clock
    policy: Policy
    tariff: Tariff
    max_queued: int
    leases: MemoryLeases | None = None


class Server:
    """One of them. Belongs to one virtual loop."""

    def __init__(self, name: str, shared: Shared) -> None:
        clock, store, leases = shared.clock, shared.ledger.as_store(), shared.leases
        leadership = None if leases is None else Leadership(leases.as_leases(), name, name, clock)
        self._shared = shared
        self._leadership = leadership
        self._journal = Journal(store, clock)
        self._work = WorkQueue()
        self.routes = Routes(clock, max_queued=shared.max_queued, on_demand=self._work.add)
        self._records = Records(self._journal, store, SteadyClock(clock), name, shared.tariff)
        parts = assemble(
            shared.engine,
            shared.catalog,
            store,
            self._journal,
            self._records,
            self.routes,
            clock,
            shared.policy,
            server_id=name,
            quota_of=lambda account_id: Quota(),
            suspension_of=lambda account_id: None,
            launch_refusal=lambda account_id, begun: None,
            work=self._work,
            leads=lambda: leadership is None or leadership.held,
        )
        self._reconciler = parts.reconciler
        self._plane = Plane(parts)
        self._asked: dict[str, None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._dead = False

    async def lead(self) -> None:
        """Returns once it leads, and goes on with the replicas that live."""
        if self._leadership is not None:
            await self._leadership.take()
            self._tasks.append(asyncio.create_task(self._leadership.keep()))
            await self._shared.engine.lead(self._leadership.token)
        await self._reconciler.recover()
        self._shared.engine.watch(self._work.wake)
        self._journal.start()
        self._tasks.append(asyncio.create_task(self._turn_forever()))

    async def ensure_route(self, account_id: str, model_id: str, capacity: Capacity) -> Route:
        """See Plane. Raises LeaseLost when it has died meanwhile."""
        route = await self._plane.ensure_route(account_id, model_id, capacity)
        if self._dead:
            raise LeaseLost()
        self._asked[route.cluster_id] = None
        return route

    def find_route(self, account_id: str, model_id: str) -> Route | None:
        """See Plane."""
        return self._plane.find_route(account_id, model_id)

    @property
    def evictions(self) -> int:
        """How many replicas it has had make room for others."""
        return self._records.tallies.evictions

    async def die(self) -> None:
        """Nothing more comes of it; what it has sent to be written is. Whoever waits here gets LeaseLost."""
        self._dead = True
        await self._end_tasks()
        if self._leadership is not None:
            self._leadership.close()
        for cluster_id in self._asked:
            self.routes.publish(cluster_id, {}, LeaseLost())
        await self._journal.close()

    async def close(self) -> None:
        """Ends it and every replica, in order. Raises what its loop did."""
        await self._end_tasks()
        await self._plane.close()
        await self._journal.close()

    async def _turn_forever(self) -> None:
        """As the reconciler's own loop, but what a turn takes is set, not measured: else no two runs were equal."""
        while True:
            self._work.changed.clear()
            self._reconciler.step()
            await asyncio.sleep(REST_S)
            await self._work.wait(self._shared.clock.monotonic(), self._shared.policy.tick_s)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        self._tasks.clear()
