"""One of several servers on a PostgreSQL: its gateways follow whichever server leads, and it waits for its turn to.

Owns the order of both. A server that has lost the lead closes what it led and waits again; its gateways go on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from modelyard.config import Settings
from modelyard.engine.doors import notice_gone
from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.gateway.following.files import FilesOfGateways
from modelyard.gateway.server import keep_pauses_short, serve_metrics
from modelyard.records.leases import LeaderAddress
from modelyard.serving.from_settings import share_of_gateway
from modelyard.serving.gateway_process import Orders
from modelyard.serving.gateways import Gateways
from modelyard.serving.root import MakeEngine, Root
from modelyard.serving.several import be_followed, stopped_by_signal
from modelyard.serving.tasks import end, start_task
from modelyard.tls import load_tls

log = logging.getLogger(__name__)

AGAIN_S = 1.0
"""How long a server that could not lead leaves that to others."""


class OneOfSeveral:
    """See the module. Loop thread only."""

    def __init__(
        self,
        settings: Settings,
        listeners: Sequence[socket.socket],
        make_engine: MakeEngine,
        on_start: Callable[[Root], None],
    ) -> None:
        """`listeners`: one for each gateway. `on_start`: called once requests are accepted."""
        self._settings = settings
        self._listeners = listeners
        self._make_engine = make_engine
        self._on_start = on_start
        self._gateways: Gateways | None = None

    async def run(self, on_stop: Callable[[], None]) -> None:
        """Serves until SIGINT or SIGTERM: requests in progress are finished first, then the lead is given back."""
        self._starting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stopping = asyncio.create_task(stopped_by_signal().wait(), name="signals")
        leading = asyncio.create_task(self._lead_forever(), name="lead")
        ends: set[asyncio.Future[Any]] = {stopping, leading}
        try:
            await asyncio.wait({*ends, self._starting}, return_when=asyncio.FIRST_COMPLETED)
            if self._starting.done():
                self._starting.result()
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if leading.done():
                leading.result()
        finally:
            stopping.cancel()
            on_stop()
            if self._gateways is not None:
                await self._gateways.close()
            await end(leading)

    async def _lead_forever(self) -> None:
        """Raises ModelyardError where this server cannot even begin."""
        while True:
            try:
                async with AsyncExitStack() as stack:
                    await self._lead_once(stack)
            except ModelyardError as error:
                if self._gateways is None:
                    raise
                log.warning("this server leads no more, and waits for its turn again: %s", error)
                await asyncio.sleep(AGAIN_S)

    async def _lead_once(self, stack: AsyncExitStack) -> None:
        """Waits until this server leads, and then until it leads no more."""
        settings = self._settings
        followed, called = (stack.enter_context(bound(settings.server_host)) for _ in range(2))
        tls = await asyncio.to_thread(load_tls, settings)
        address = LeaderAddress(name_of(followed), name_of(called), secrets.token_hex(32), tls is not None)
        root = Root(settings, address, self._make_engine)
        await root.open(stack, lambda: self._start_gateways(root))
        leader = await be_followed(stack, settings, root, address.secret, followed, called, tls)
        files = FilesOfGateways(root.artefacts, lambda: leader.sessions)
        root.artefact_calls.ensure_here = files.ensure_here
        start_task(stack, root.settle_unclaimed(leader.claimed), "requests of servers that are gone")
        serve_metrics(stack, root.metrics.app(), settings.metrics_host, settings.metrics_port)
        keep_pauses_short()
        log.warning("this server leads")
        await root.lease_lost.wait()

    async def _start_gateways(self, root: Root) -> None:
        """For the first time this server waits; they live as long as it does."""
        if self._gateways is None:
            await asyncio.to_thread(root.settle_left_over)
            orders = Orders(share_of_gateway(self._settings), root.server_id, place=None)
            self._gateways = Gateways(self._listeners, orders.encode())
            starting = asyncio.create_task(self._gateways.start(), name="start of the gateways")
            starting.add_done_callback(lambda done: self._started(done, root))

    def _started(self, starting: asyncio.Task[None], root: Root) -> None:
        if starting.cancelled():
            self._starting.cancel()
        elif (error := starting.exception()) is not None:
            self._starting.set_exception(error)
        else:
            self._on_start(root)
            self._starting.set_result(None)


def bound(host: str) -> socket.socket:
    """A TCP socket on a free port of this machine's address. Raises InvalidRequest when it is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    notice_gone(listener)  # what gateways held whose machine has vanished is free then
    try:
        listener.bind((host, 0))
    except OSError as error:
        listener.close()
        accepted = "an address of this machine, at which the other servers reach it"
        raise InvalidRequest(field="server_host", got=host, accepted=f"{accepted} ({error})") from error
    return listener


def name_of(listener: socket.socket) -> str:
    """Its address as `host:port`."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
