"""One replica on another machine, as the server that uses it holds it: what its agent told last, and the link to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from modelyard.engine.adapter_replicas import AdapterLink
from modelyard.engine.base import Phase, Place, Sighting
from modelyard.engine.link import Link, ReplicaLink
from modelyard.engine.remote.messages import Seen
from modelyard.engine.remote.node import RemoteNode
from modelyard.protocol import Status
from modelyard.records.deaths import Death
from modelyard.records.replicas import ReplicaSpec
from modelyard.tls import LinkTls


@dataclass(eq=False, slots=True)
class RemoteReplica:
    """`found`: another server has launched it. `shown`: it is one of this server's sightings. `seen`: what its agent
    has told last. `connecting`: this server has begun to connect to it; `connected`: set when it has, or cannot."""

    spec: ReplicaSpec
    place: Place
    node: RemoteNode
    found: bool = True
    shown: bool = False
    seen: Seen | None = None
    link: Link | None = None
    adapter_link: AdapterLink | None = None
    connecting: bool = False
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """The replica's."""
        return self.spec.replica_id

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests, of whoever is connected."""
        return self.seen is not None and self.seen.condition.phase is Phase.READY and not self.gone.is_set()

    @property
    def may_connect(self) -> bool:
        """Whether it has a process of its own to connect to, and this has not begun."""
        has_process = self.seen is not None and self.seen.condition.address is not None
        return has_process and not self.connecting and self.spec.beside is None

    def use_link_of(self, base: RemoteReplica) -> None:
        """Has an adapter reached by the connection to the replica of its base, once there is one."""
        if self.adapter_link is None and base.link is not None:
            self.adapter_link = AdapterLink(base.link, self.id)
            self.connected.set()

    async def connect(self, deadline_s: float, turn: asyncio.Lock, tls: LinkTls | None) -> None:
        """Connects to its process. Raises ReplicaLost."""
        assert self.seen is not None  # noqa: S101 - it may connect
        assert self.seen.condition.address is not None  # noqa: S101
        address, secret = self.seen.condition.address, self.spec.secret
        try:
            self.link = await Link.connect(
                address, secret, take_no_status, deadline_s, turn, tls=tls, replica_id=self.id
            )
        finally:
            self.connected.set()

    async def wait_for_end(self, ping_every_s: float, ping_deadline_s: float) -> str:
        """Returns, with what was the matter, when the connection has ended; that of a worker which gives no sign of
        life is closed."""
        link = self.link
        assert link is not None  # noqa: S101 - connected
        while not link.closed:
            if not await link.ping(ping_deadline_s) and not link.closed:
                await link.close()
                return f"stuck: no sign of life for {ping_deadline_s:g} s"
            await link.wait_closed(ping_every_s)
        return link.fault or "its connection broke"

    def describe(self, before: Sighting) -> Sighting:
        """What this server sees of it; `before`: what it saw last. READY is what this server can send requests to."""
        if self.seen is None:
            return before
        link: ReplicaLink | None = self.link if self.spec.beside is None else self.adapter_link
        sighting = Sighting.of(self.seen.condition, spec=self.spec if self.found else None)
        if sighting.phase is not Phase.READY:
            return sighting
        return replace(sighting, phase=before.phase) if link is None else replace(sighting, link=link)

    def note_end(self, reason: str, *, host_died: bool) -> None:
        """It is gone: whoever has requests on it learns how it ended. `host_died`: see Sighting."""
        self.gone.set()
        self.connected.set()
        if self.link is not None:
            told = None if self.seen is None else self.seen.death
            self.link.note_death(told or Death(reason, host_died=host_died))

    async def disconnect(self) -> None:
        """Closes the connection to it; requests that wait on it get ReplicaLost."""
        if self.adapter_link is not None:
            self.adapter_link.unload()
        if self.link is not None:
            await self.link.close()


def take_no_status(status: Status) -> None:
    """Its agent tells how a replica is, to all servers at once."""
