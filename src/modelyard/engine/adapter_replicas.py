"""Replicas that are an adapter in the process of a replica of its base: loaded there, seen, and taken away again.

Owns what is sent of an adapter's files, and the way of a request to it. For every engine whose replicas have links.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelyard.engine.base import Phase, Place, Sighting
from modelyard.engine.link import Exchange, Link, ReplicaLink
from modelyard.errors import ModelyardError, ReplicaLost
from modelyard.records.adapters import CONFIG_FILE, WEIGHTS_FILE
from modelyard.records.deaths import Death
from modelyard.records.replicas import ReplicaSpec

PIECE_BYTES = 1024**2
"""What is sent of a file at once: what others send over the same connection waits no longer than that takes."""
FILE_BYTES = 256 * 1024**2
"""The most of a file beside the weights; vocabularies take some megabytes."""
ENDINGS = frozenset({".json", ".jinja", ".txt", ".model"})
"""Of the files beside the weights that a tokenizer may be made of."""


class AdapterLink(ReplicaLink):
    """Requests to one adapter, over the connection of the replica beside whose model it is."""

    def __init__(self, link: Link, adapter: str) -> None:
        self._link = link
        self._adapter = adapter
        self._unloaded = False
        self.door = None if link.door is None else replace(link.door, adapter=adapter)

    @property
    def closed(self) -> bool:
        """See ReplicaLink."""
        return self._unloaded or self._link.closed

    def request(self, fields: dict[str, Any], params: dict[str, Any], *, stream: bool, timed: bool = False) -> Exchange:
        """See ReplicaLink."""
        if self._unloaded:
            raise ReplicaLost()
        return self._link.request(fields, params, stream=stream, timed=timed, adapter=self._adapter)

    async def find_death(self, timeout_s: float) -> Death | None:
        """See ReplicaLink."""
        return await self._link.find_death(timeout_s)

    def unload(self) -> None:
        """Ends it: whoever waits for an answer gets ReplicaLost. Idempotent."""
        if not self._unloaded:
            self._unloaded = True
            self._link.unload_adapter(self._adapter)


@dataclass(eq=False, slots=True)
class AdapterReplica:
    """One of them. `link`: made when its base's replica was there; `task`: what loads it."""

    spec: ReplicaSpec
    link: AdapterLink | None = None
    task: asyncio.Task[None] | None = None


class AdapterReplicas:
    """Those of one engine. Loop thread only."""

    def __init__(self, sightings: Mapping[str, Sighting], update: Callable[[Sighting], None]) -> None:
        """`sightings`: the engine's, of all replicas; `update`: takes a new one."""
        self._sightings = sightings
        self._update = update
        self._replicas: dict[str, AdapterReplica] = {}

    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        """Begins to load an adapter; GONE at once where the replica of its base is not there."""
        replica = self._replicas[spec.replica_id] = AdapterReplica(spec)
        self._update(Sighting(spec.replica_id, Phase.STARTING, place))
        base = self._sightings.get(spec.beside or "")
        if base is None or not isinstance(base.link, Link) or base.place != place:
            return self._end(replica, without_base(spec), host_died=True)
        replica.link = AdapterLink(base.link, spec.replica_id)
        replica.task = asyncio.create_task(self._load(replica, base.link), name=f"load {spec.replica_id}")
        return None

    async def stop(self, replica_id: str) -> None:
        """Takes an adapter away, at once. Harmless for all others."""
        if (replica := self._replicas.get(replica_id)) is not None:
            self._end(replica, "stopped")
            if replica.task is not None:
                await asyncio.wait({replica.task})

    def note(self, base: Sighting) -> None:
        """What the engine has seen of another replica; with the end of one, adapters beside it end."""
        if base.phase is Phase.GONE:
            for replica in list(self._replicas.values()):
                if replica.spec.beside == base.replica_id:
                    self._end(replica, f"the replica of its base has ended: {base.reason}", host_died=True)

    def forget(self, replica_id: str) -> None:
        """Drops one that is GONE."""
        self._replicas.pop(replica_id, None)

    async def close(self) -> None:
        """Ends all of them."""
        await asyncio.gather(*(self.stop(replica_id) for replica_id in list(self._replicas)))

    async def _load(self, replica: AdapterReplica, link: Link) -> None:
        replica_id = replica.spec.replica_id
        self._update(replace(self._sightings[replica_id], phase=Phase.LOADING))
        try:
            await send_files(link, replica_id, Path(replica.spec.path))
            await link.load_adapter(replica_id).run()
        except ModelyardError as error:
            self._end(replica, error.message, refused=not error.retryable)
        except OSError as error:
            self._end(replica, f"its files cannot be read: {error.strerror}")
        else:
            base = self._sightings[replica.spec.beside or ""]
            seen = replace(self._sightings[replica_id], phase=Phase.READY, link=replica.link)
            self._update(replace(seen, slots=base.slots, joins=base.joins))

    def _end(self, replica: AdapterReplica, reason: str, *, refused: bool = False, host_died: bool = False) -> None:
        sighting = self._sightings[replica.spec.replica_id]
        if sighting.phase is Phase.GONE:
            return
        if replica.task is not None and replica.task is not asyncio.current_task():
            replica.task.cancel()
        if replica.link is not None:
            replica.link.unload()
        ended = replace(sighting, phase=Phase.GONE, link=None, reason=reason)
        self._update(replace(ended, refused=refused, host_died=host_died))


async def send_files(link: Link, adapter: str, folder: Path) -> None:
    """Sends what a worker needs of an adapter's files, in pieces. Raises ReplicaLost, OSError."""
    for file in await asyncio.to_thread(find_files, folder):
        pieces = read_pieces(file)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            await link.send_adapter_piece(adapter, file.name, piece)


def find_files(folder: Path) -> list[Path]:
    """The config, the weights, and what may belong to a tokenizer. Raises OSError."""
    files = [folder / CONFIG_FILE, folder / WEIGHTS_FILE]
    others = sorted(file for file in folder.iterdir() if file.suffix in ENDINGS and file not in files)
    return files + [file for file in others if file.is_file() and file.stat().st_size <= FILE_BYTES]


def read_pieces(file: Path) -> Iterator[bytes]:
    """The file's bytes; one empty piece for an empty file. Raises OSError."""
    with file.open("rb") as opened:
        yield opened.read(PIECE_BYTES)
        while piece := opened.read(PIECE_BYTES):
            yield piece


def without_base(spec: ReplicaSpec) -> str:
    """Why an adapter is GONE that was launched where its base is not."""
    return f"there is no replica {spec.beside} of its base"
