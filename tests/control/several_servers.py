"""Control planes of several servers on one PostgreSQL, and on machines whose replicas outlive each of them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from modelyard.engine.base import Phase
from modelyard.records.instances import Tariff
from tests.clock import HandClock
from tests.control.control_plane import ControlPlane, MakeControl
from tests.engine.fake import FakeEngine
from tests.engine.outliving import FakeServerEngine


@dataclass(eq=False)
class Servers:
    """Opens servers, one after another, on the same machines and the same database."""

    make_control: MakeControl
    url: str
    machines: FakeEngine
    stack: AsyncExitStack
    clock: HandClock = field(default_factory=HandClock)
    opened: int = 0

    async def open(self, server_id: str = "") -> ControlPlane:
        """The next server, which leads: the lease of the one before it has ended."""
        self.opened += 1
        server = self.make_control(
            url=self.url,
            make_engine=lambda nodes, fetch: FakeServerEngine(self.machines),
            clock=self.clock,
            server_id=server_id or f"srv_{self.opened}",
            tariff=Tariff(16_666_700),
            several=True,
        )
        return await self.stack.enter_async_context(server)

    def alive(self) -> set[str]:
        """The ids of what lives on the machines."""
        return {each.replica_id for each in self.machines.sightings().values() if each.phase is not Phase.GONE}

    def launched(self) -> set[str]:
        """The ids of all that was ever launched, each once."""
        ids = [spec.replica_id for spec in self.machines.launched]
        assert len(set(ids)) == len(ids)
        return set(ids)


def end_lease(server: ControlPlane) -> None:
    """As if it had not renewed it for long enough."""
    server.store.leases.release(server.leadership.token)
