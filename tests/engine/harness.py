"""An engine under test, with what tests of every engine need: specs, waiting for a state, one-line requests."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.engine.base import Engine, Phase, Place, Sighting
from modelyard.engine.link import Exchange, Link
from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.memory import start_ticks

DEADLINE_S = 200.0
SECRET = "open sesame"

_numbers = itertools.count(1)


def new_id() -> str:
    """A replica id that no other test has used."""
    return f"in_{next(_numbers)}"


def new_token() -> int:
    """A token higher than all before it."""
    return next(_numbers)


def echo_spec(path: str = "echo", **more: Any) -> ReplicaSpec:
    """A replica of workers.py; FakeEngine takes it as well."""
    return ReplicaSpec(new_id(), "tests/echo", path, "echo", secret=SECRET, **more)


def echo_adapter(base_id: str, folder: Path, number: int) -> ReplicaSpec:
    """An adapter of an echoing model, beside that replica: one that adds words of its own to each answer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_version": f"0.{number}"}))
    (folder / "adapter_model.safetensors").write_bytes(bytes(3 * 1024**2))
    return ReplicaSpec(new_id(), f"people/{folder.name}", str(folder), "echo", beside=base_id)


@dataclass(eq=False)
class Harness:
    """`good` makes the spec of a model that works, `bad` of one that cannot be loaded, for the reason `bad_words`.

    `adapter` makes the spec of an adapter beside a replica of a model that works: (that replica's id, a folder that it
    fills, a number that makes its answers others). `slow` is a request that is in flight for long, and streams
    something at once. `kill` ends a replica as kill -9 does. `history` has, per replica, its sightings in order.
    """

    engine: Engine
    good: Callable[[], ReplicaSpec] = echo_spec
    bad: Callable[[], ReplicaSpec] = lambda: echo_spec("refuse")
    bad_words: str = "there are no weights in it"
    adapter: Callable[[str, Path, int], ReplicaSpec] = echo_adapter
    slow: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"text": "hold on"}, {})
    history: dict[str, list[Sighting]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._changed = asyncio.Event()
        self.engine.watch(self._note)

    def _note(self) -> None:
        for replica_id, sighting in self.engine.sightings().items():
            seen = self.history.setdefault(replica_id, [])
            if not seen or seen[-1] != sighting:
                seen.append(sighting)
        self._changed.set()

    def phases(self, replica_id: str) -> list[Phase]:
        """The phases a replica has gone through."""
        return [phase for phase, _ in itertools.groupby(sighting.phase for sighting in self.history[replica_id])]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Returns when `condition` holds, looking after each change the engine tells of."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_phase(self, replica_id: str, phase: Phase) -> Sighting:
        """The replica's sighting once it is in `phase`."""
        sightings = self.engine.sightings()
        try:
            await self.until(lambda: sightings[replica_id].phase in (phase, Phase.GONE))
        except TimeoutError:
            raise AssertionError(f"not {phase}: {sightings[replica_id]}") from None
        assert sightings[replica_id].phase is phase, sightings[replica_id]
        return sightings[replica_id]

    async def until_gone(self, replica_id: str) -> Sighting:
        """The replica's sighting once it is GONE."""
        sightings = self.engine.sightings()
        await self.until(lambda: sightings[replica_id].phase is Phase.GONE)
        return sightings[replica_id]

    @property
    def place(self) -> Place:
        """Where replicas go unless a test says otherwise."""
        return Place(self.engine.nodes()[0].name)

    def launch(self, spec: ReplicaSpec, place: Place | None = None) -> None:
        """Begins to start a replica."""
        self.engine.launch(spec, place or self.place)

    async def boot(self, spec: ReplicaSpec | None = None) -> Link:
        """Launches a replica; its link once it is READY."""
        spec = spec or self.good()
        self.launch(spec)
        sighting = await self.until_phase(spec.replica_id, Phase.READY)
        assert sighting.link is not None
        return sighting.link

    def id_of(self, link: Link) -> str:
        """The replica behind a link."""
        return next(key for key, sighting in self.engine.sightings().items() if sighting.link is link)

    async def clear(self) -> None:
        """Stops and forgets every replica."""
        await asyncio.gather(*(self.engine.stop(replica_id, 5.0) for replica_id in list(self.engine.sightings())))
        for replica_id in list(self.engine.sightings()):
            self.engine.forget(replica_id)
        self.history.clear()

    def kill(self, replica_id: str) -> None:
        """kill -9 of the replica's process."""
        from tests.engine.fake import FakeEngine
        from tests.engine.outliving import FakeServerEngine

        if isinstance(self.engine, FakeEngine | FakeServerEngine):
            return self.engine.die(replica_id)
        pid = self.engine.sightings()[replica_id].pid
        assert pid is not None
        return os.kill(pid, 9)


async def ask(link: Link, text: Any, **params: Any) -> Any:
    """The answer to one request."""
    return (await finish(link.request({"text": text}, params, stream=False)))[-1]


async def finish(exchange: Exchange) -> list[Any]:
    """The pieces of a stream, and at the end the output."""
    pieces = []
    async with asyncio.timeout(DEADLINE_S):
        async for piece in exchange:
            pieces.append(piece)
    assert exchange.outcome is not None
    return [*pieces, exchange.outcome.output]


async def first_piece(exchange: Exchange) -> Any:
    """The first piece of a stream."""
    async with asyncio.timeout(DEADLINE_S):
        return await anext(exchange)


async def eventually(condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> None:
    """Returns when `condition` holds, for what tells nobody when it changes: processes and files."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s"
        await asyncio.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether the process runs: one that waits to be reaped does not."""
    return start_ticks(pid) is not None
