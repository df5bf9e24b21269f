"""Engines of several servers on the same machines, which a FakeEngine plays: its replicas outlive each of them.

    machines = FakeEngine()
    first, second = FakeServerEngine(machines), FakeServerEngine(machines)
    await first.lead(1)
    await second.lead(2)                # ... and `first` may launch and stop nothing any more
    await first.close()                 # as a server that ends, however it does: its connections break, replicas live

Each has its own connections, as servers in processes of their own have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelyard.engine.adapter_replicas import AdapterLink
from modelyard.engine.base import Engine, Node, OnStep, Phase, Place, ReplicaLog, Sighting, Stray
from modelyard.engine.link import Link, ReplicaLink
from modelyard.engine.sightings import Sightings
from modelyard.errors import LeaseLost, ReplicaLost
from modelyard.records.deaths import Death
from modelyard.records.models import ModelCard, OnProgress
from modelyard.records.replicas import ReplicaSpec
from modelyard.records.variants import ExportOrder
from tests.engine.fake import FakeEngine


class FakeServerEngine(Engine):
    """The Engine contract for one of several servers."""

    outlives_servers = True

    def __init__(self, machines: FakeEngine) -> None:
        """`machines`: started, and closed by whoever has made it."""
        self.machines = machines
        self._token = 0
        self._specs: dict[str, ReplicaSpec | None] = {}
        """Of the replicas that this server sees; None: it has launched it."""
        self._sightings = Sightings()
        self._links: dict[str, Link] = {}
        self._connecting: dict[str, asyncio.Task[None]] = {}
        self._on_change: Callable[[], None] = lambda: None
        self._closed = False
        machines.servers.append(self._look)

    def die(self, replica_id: str, reason: str = "killed by SIGKILL") -> None:
        """Ends a replica as a crash does."""
        self.machines.die(replica_id, reason)

    # --- the contract ---

    async def start(self) -> None:
        return

    async def lead(self, token: int) -> None:
        await asyncio.sleep(0)
        if token < self.machines.token:
            raise LeaseLost()
        self._token = self.machines.token = token
        for sighting in self.machines.sightings().values():
            if sighting.phase is not Phase.GONE:
                self._specs.setdefault(sighting.replica_id, self.machines.spec(sighting.replica_id))
        self._look()
        await asyncio.gather(*self._connecting.values())

    async def close(self) -> None:
        self._closed = True
        if self._look in self.machines.servers:
            self.machines.servers.remove(self._look)
        for task in self._connecting.values():
            task.cancel()
        await asyncio.gather(*self._connecting.values(), return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self._links.values()))

    @property
    def warm(self) -> bool:
        return self.machines.warm

    def nodes(self) -> tuple[Node, ...]:
        return self.machines.nodes()

    async def take_launches(self, node: str, accepting: bool, device: str | None = None) -> None:
        await self.machines.take_launches(node, accepting, device)

    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        if spec.replica_id in self._sightings or self._closed:
            return
        if not self._leads:
            gone = Sighting(spec.replica_id, Phase.GONE, place, reason="another server leads", host_died=True)
            self._see(gone)
            return
        self._specs[spec.replica_id] = None
        self.machines.launch(spec, place)

    async def stop(self, replica_id: str, grace_s: float) -> None:
        if self._closed:
            return
        if not self._leads:
            raise LeaseLost()
        await self.machines.stop(replica_id, grace_s)

    def sightings(self) -> Sightings:
        return self._sightings

    def forget(self, replica_id: str) -> None:
        if self._sightings.forget(replica_id) and self._specs.pop(replica_id, self) is not self:
            self.machines.forget(replica_id)

    def watch(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def end_strays(self, strays: Iterable[Stray]) -> int:
        return self.machines.end_strays(strays)

    async def prepare(self, card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        return await self.machines.prepare(card, on_progress, account_id)

    def nodes_with(self, card: ModelCard) -> Collection[str]:
        return self.machines.nodes_with(card)

    async def read_logs(self, folder: str, count: int) -> Sequence[ReplicaLog]:
        return await self.machines.read_logs(folder, count)

    async def export(self, order: ExportOrder, place: Place, on_step: OnStep) -> dict[str, Any]:
        return await self.machines.export(order, place, on_step)

    # --- inside ---

    @property
    def _leads(self) -> bool:
        return 0 < self._token == self.machines.token

    def _look(self) -> None:
        """Takes over what has become of the replicas; one is READY here once this server has a connection to it."""
        for replica_id, spec in self._specs.items():
            sighting = self.machines.sightings().get(replica_id)
            if sighting is None:
                continue
            if sighting.phase is Phase.GONE:
                seen = self._sightings.get(replica_id)
                if seen is not None and isinstance(seen.link, AdapterLink):
                    seen.link.unload()
                if (link := self._links.get(replica_id)) is not None:
                    link.note_death(Death(sighting.reason or "ended", host_died=sighting.host_died))
            elif sighting.phase is Phase.READY:
                if (link := self._links.get(replica_id)) is None:
                    if replica_id not in self._connecting:
                        self._connecting[replica_id] = asyncio.create_task(self._connect(replica_id))
                    continue
                sighting = replace(sighting, link=self._link_to(replica_id, link))
            self._see(replace(sighting, spec=spec))

    def _link_to(self, replica_id: str, link: Link) -> ReplicaLink:
        seen = self._sightings.get(replica_id)
        if seen is not None and seen.link is not None:
            return seen.link
        return AdapterLink(link, replica_id) if self.machines.spec(replica_id).beside is not None else link

    async def _connect(self, replica_id: str) -> None:
        with suppress(ReplicaLost, KeyError):  # it has ended meanwhile, which the machines tell
            address, spec = self.machines.address(replica_id), self.machines.spec(replica_id)
            secret = self.machines.spec(spec.beside or replica_id).secret
            self._links[replica_id] = await Link.connect(address, secret, lambda _: None)
            self._look()

    def _see(self, sighting: Sighting) -> None:
        if self._sightings.get(sighting.replica_id) != sighting:
            self._sightings[sighting.replica_id] = sighting
            self._on_change()
