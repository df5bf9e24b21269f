"""Whom a gateway follows where several servers may lead: it looks again and again, and follows whoever leads then.

Owns when a gateway may believe what it is told: not after it was stopped for a while, before it has looked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from modelyard.errors import ModelyardError, Unavailable
from modelyard.gateway.following.calls import CallsAddress
from modelyard.gateway.following.follower import Follower
from modelyard.records.leases import NOWHERE, Lease
from modelyard.tls import SAME_FILES, LinkTls

log = logging.getLogger(__name__)

LOOK_S = 0.2
ANSWER_S = 1.0
"""How long the database may take to say who leads; one that does not, or cannot, has given the lease to nobody else."""
SURE_S = 2.0
"""How old what was found may be: where it is older, this process was stopped for a while."""
TOLD_S = 10.0
"""How often it is told that a server cannot be followed."""
LOOPBACK = ("127.", "[::1]")
NOT_ELSEWHERE = ". If that server is on another machine, start it with --server-host, the address of its machine"


class Leaders:
    """One gateway's search for the server that leads. Loop thread only."""

    def __init__(
        self, follower: Follower, find: Callable[[], Lease | None], number: int, tls: LinkTls | None = None
    ) -> None:
        """`find`: asks the database, and blocks; raises Unavailable. `number`: the gateway's. `tls`: what the server
        that leads is shown; with it, one that takes connections without is not followed."""
        self._follower = follower
        self._tls = tls
        self._find = find
        self._number = number
        self._lease: Lease | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "who leads")
        self._asking: asyncio.Future[Lease | None] | None = None
        self._told_at = -TOLD_S

    async def look_forever(self) -> None:
        """Follows whoever leads, until it is cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(LOOK_S)
        finally:
            await self._leave()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def calls_address(self) -> CallsAddress:
        """Where calls beside inference are passed on to. Raises Unavailable when no server leads."""
        await self._follower.wait_followed()
        assert self._lease is not None  # noqa: S101 - it is followed
        address = self._lease.address
        return CallsAddress(f"{address.kind}://{address.calls}", address.secret, may_change=True)

    async def _look(self) -> None:
        began_at = monotonic()
        lease = await self._ask()
        if lease is not None and lease.address != NOWHERE and (self._lease is None or lease.token != self._lease.token):
            await self._leave()
            self._lease = lease
        self._follower.note_sure(began_at + SURE_S)
        if self._lease is not None and not self._follower.can_tell and self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(self._lease), name="follow the server that leads")

    async def _ask(self) -> Lease | None:
        """None: nobody leads, or nobody can say."""
        if self._asking is None:
            self._asking = asyncio.get_running_loop().run_in_executor(self._thread, self._find)
        try:
            async with asyncio.timeout(ANSWER_S):
                lease = await asyncio.shield(self._asking)
        except TimeoutError:
            return None
        except ModelyardError:
            lease = None
        self._asking = None
        return lease

    async def _connect(self, lease: Lease) -> None:
        address = lease.address
        try:
            if self._tls is not None and not address.tls:
                raise Unavailable(f"it takes connections without TLS, and clients' keys are not sent so: {SAME_FILES}")
            await self._follower.connect(f"{address.kind}://{address.frames}", address.secret, self._number, self._tls)
            log.warning("following the server that leads: %s", lease.holder_name)
        except ModelyardError as error:
            if monotonic() - self._told_at >= TOLD_S:
                self._told_at = monotonic()
                advice = NOT_ELSEWHERE if address.frames.startswith(LOOPBACK) else ""
                log.warning("%s leads. %s%s", lease.holder_name, error, advice)
        finally:
            self._connecting = None

    async def _leave(self) -> None:
        if (connecting := self._connecting) is not None:
            connecting.cancel()
            await asyncio.wait({connecting})
        self._follower.leave()
