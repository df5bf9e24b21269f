"""A trial: one worker of a model that belongs to no client, to run a benchmark on.

The reconciler boots, places and ends it like any other replica; the trial alone sends it requests.
"""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from modelyard.clock import Clock
from modelyard.control.reconciler import Reconciler
from modelyard.control.replicas import Terms
from modelyard.control.routes import Routes
from modelyard.jobs.benchmark import Ask, asker
from modelyard.records.clusters import Capacity, Cluster

LEAVE_S = 10.0
"""How long the worker may take to end."""
YEAR_S = 365 * 24 * 3600


class Trial:
    """Opened by `async with`: then the worker is ready. Raises what kept it from booting."""

    def __init__(
        self,
        reconciler: Reconciler,
        routes: Routes,
        clock: Clock,
        account_id: str,
        model_id: str,
        terms: Terms,
        *,
        wait_s: float,
    ) -> None:
        """`account_id`: whose name the ledger and the log carry. `wait_s`: for room and for the boot together."""
        now = clock.now()
        self._cluster = Cluster(
            id=f"job_{secrets.token_hex(8)}",
            account_id=account_id,
            model_id=model_id,
            capacity=Capacity(1, 1, 1),
            timeout_s=YEAR_S,
            enabled=True,
            created_at=now,
            modified_at=now,
        )
        self._reconciler = reconciler
        self._routes = routes
        self._terms = terms
        self._wait_s = wait_s
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._supervised = self._reconciler.adopt(self._cluster, terms=self._terms)
            stack.push_async_callback(self._leave)
            # One slot is held throughout, so that the worker is never taken for idle; requests go past the slots.
            self._target = await self._routes.acquire(self._supervised.route, self._wait_s)
            stack.callback(self._routes.release, self._supervised.route, self._target)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def load_s(self) -> float:
        """From the worker's launch until it was ready."""
        return self._supervised.boot_s

    @property
    def ask(self) -> Ask:
        """Sends it requests."""
        return asker(self._target.link)

    def peak_bytes(self) -> int | None:
        """The most it has said that it held; None while it has said nothing."""
        return max((replica.peak_bytes for replica in self._supervised.replicas.values()), default=0) or None

    async def _leave(self) -> None:
        self._reconciler.remove(self._cluster.id)
        await self._reconciler.wait_until_gone(self._cluster.id, LEAVE_S)
