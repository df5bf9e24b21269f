"""An engine whose replicas live in this process: real frames, real batches, a task that echoes; a test holds the reins.

    engine = FakeEngine()
    engine.hold_boots = True            # launched replicas stay STARTING ...
    engine.hold_loads = True            # ... or LOADING ...
    engine.release()                    # ... until this (one id, or all; later launches are held again)
    engine.refuse_next("no such file")  # the next launch to load ends GONE with refused=True
    engine.fail_next("exited with 1")   # the next launch to load ends GONE with refused=False
    engine.hold_stops = True            # replicas ignore being asked to stop, until their grace has run out; those that
                                        # get none, until they `die`
    engine.hold_answers()               # requests that start wait in the "model" ...
    engine.release_answers()            # ... until this
    engine.die(replica_id, "killed by SIGKILL")
    engine.lose(replica_id)             # GONE, as if its node was cut off, while its process lives
    engine.have_nodes(node, ...)        # from now on there are these; replicas on others are GONE

It has three nodes, two of them with devices, unless it is given others.
It keeps `launched` (specs) and `stopped` (ids), in order. The echo: see `echo.py`.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from modelyard.engine.adapter_replicas import AdapterReplicas
from modelyard.engine.base import (
    Device,
    Engine,
    Fetch,
    Node,
    OnStep,
    Phase,
    Place,
    ReplicaLog,
    Sighting,
    Stray,
)
from modelyard.engine.export import take_over
from modelyard.engine.link import Link
from modelyard.engine.local import fetch_nothing
from modelyard.engine.sightings import Sightings
from modelyard.engine.strays import end_strays
from modelyard.errors import ModelRefused, UnknownNode
from modelyard.protocol import Configure, Loading, Ready, Status
from modelyard.records.deaths import Death
from modelyard.records.models import ModelCard, OnProgress
from modelyard.records.replicas import ReplicaSpec
from modelyard.records.variants import ExportOrder
from modelyard.tasks.base import Task
from modelyard.units import GIB
from modelyard.worker.schedulers.batches import Batcher
from modelyard.worker.server import WorkerServer
from tests.engine.echo import ECHO, EchoModel
from tests.engine.exporter import copy_config

MIB = 1024**2
NODES = (
    Node("plain", 8 * GIB),
    Node("one-device", 8 * GIB, (Device("cuda:0", 16 * GIB),)),
    Node("two-devices", 8 * GIB, (Device("cuda:0", 16 * GIB), Device("cuda:1", 24 * GIB))),
)


class FakeEngine(Engine):
    """The Engine contract on one event loop, without processes."""

    def __init__(
        self,
        nodes: Sequence[Node] = NODES,
        *,
        fetch: Fetch = fetch_nothing,
        task: Task = ECHO,
        replica_memory_bytes: int = 90 * MIB,
    ) -> None:
        """`replica_memory_bytes`: what every replica reports to hold; a test may set `replica_device_bytes` too."""
        self._nodes = tuple(nodes)
        self._fetch = fetch
        self._models_on: dict[str, set[str]] = {}
        self._logs: dict[str, list[ReplicaLog]] = {}
        self._task = task
        self.replica_memory_bytes = replica_memory_bytes
        self.replica_device_bytes: int | None = None
        self._replicas: dict[str, FakeReplica] = {}
        self._forgotten: list[FakeReplica] = []
        self._sightings = Sightings()
        self._adapters = AdapterReplicas(self._sightings, self._see)
        self._on_change: Callable[[], None] = lambda: None
        self.token = 0
        """The highest that a server has led with; see `FakeServerEngine`."""
        self.servers: list[Callable[[], None]] = []
        """Told of every change besides; see `FakeServerEngine`."""
        self._ends: list[tuple[str, bool]] = []
        self._run_dir: Path | None = None
        self._closed = False
        self.answers = threading.Event()
        self.answers.set()
        self.hold_boots = False
        self.hold_loads = False
        self.hold_stops = False
        self.is_warm = True
        self.launched: list[ReplicaSpec] = []
        self.stopped: list[str] = []

    # --- what a test does ---

    def release(self, replica_id: str | None = None) -> None:
        """Lets a replica, or all there are, go on to READY."""
        for replica in [self._replicas[replica_id]] if replica_id else list(self._replicas.values()):
            replica.may_load.set()
            replica.may_serve.set()

    def release_boots(self) -> None:
        """Lets every replica there is go on from STARTING; `hold_loads` still holds them at LOADING."""
        for replica in self._replicas.values():
            replica.may_load.set()

    def die(self, replica_id: str, reason: str = "killed by SIGKILL", **how: Any) -> None:
        """Ends a replica as a crash does: its connections break, what it held is lost. GONE when this returns. `how`:
        fields of its sighting."""
        self._end(replica_id, reason, **how)

    def lose(self, replica_id: str, reason: str = "its node is lost") -> None:
        """Takes a replica for gone whose machine is cut off: it lives on until this engine is closed, and breaks nobody
        else's connection."""
        replica = self._replicas[replica_id]
        assert replica.link is not None
        replica.link.note_death(Death(reason, host_died=True))
        replica.link.abort()
        self._see(replace(self._sightings[replica_id], phase=Phase.GONE, link=None, reason=reason, host_died=True))

    def have_nodes(self, *nodes: Node) -> None:
        """From now on there are these nodes; what ran on another dies with it."""
        self._nodes = nodes
        names = {node.name for node in nodes}
        for replica_id, replica in list(self._replicas.items()):
            if replica.place.node not in names:
                self._end(replica_id, f"there is no node {replica.place.node}", host_died=True)
        self._tell()

    def refuse_next(self, reason: str) -> None:
        """The next replica that begins to load finds that its model cannot be loaded, ever."""
        self._ends.append((reason, True))

    def fail_next(self, reason: str) -> None:
        """The next replica that begins to load crashes there."""
        self._ends.append((reason, False))

    def hold_answers(self) -> None:
        """From now on calls wait inside the model; one whose client has left ends."""
        self.answers.clear()

    def release_answers(self) -> None:
        """Lets held and later calls go on."""
        self.answers.set()

    def model(self, replica_id: str) -> EchoModel:
        """A replica's model: `seen` lists the texts it was asked."""
        return self._replicas[replica_id].model

    def settings(self, replica_id: str) -> list[Configure]:
        """Every CONFIGURE a replica got."""
        return self._replicas[replica_id].settings

    def spec(self, replica_id: str) -> ReplicaSpec:
        """What a replica was launched with."""
        return next(spec for spec in self.launched if spec.replica_id == replica_id)

    def address(self, replica_id: str) -> str:
        """Where a replica that has a process takes connections; its adapters' are its own."""
        return f"unix:{self._replicas[self.spec(replica_id).beside or replica_id].path}"

    # --- the contract ---

    async def start(self) -> None:
        self._run_dir = Path(tempfile.mkdtemp(prefix="fake-"))

    async def lead(self, token: int) -> None:
        return

    async def close(self) -> None:
        self._closed = True
        for replica_id in list(self._replicas):
            self._end(replica_id, "stopped")
        await self._adapters.close()
        for replica in self._forgotten:
            if not replica.gone.is_set():  # it was lost
                replica.end()
        await asyncio.gather(*(replica.closed() for replica in [*self._replicas.values(), *self._forgotten]))
        if self._run_dir is not None:
            shutil.rmtree(self._run_dir, ignore_errors=True)

    @property
    def warm(self) -> bool:
        return self.is_warm

    def nodes(self) -> tuple[Node, ...]:
        return self._nodes

    async def take_launches(self, node: str, accepting: bool, device: str | None = None) -> None:
        if node not in {each.name for each in self._nodes}:
            raise UnknownNode(f"There is no node {node}.", node=node)
        self.have_nodes(*(each.taking(accepting, device) if each.name == node else each for each in self._nodes))

    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        if spec.replica_id in self._sightings or self._closed:
            return None
        assert self._run_dir is not None, "start() first"
        self.launched.append(spec)
        if spec.beside is not None:
            return self._adapters.launch(spec, place)
        model = EchoModel(self.answers)
        replica = FakeReplica(spec, place, model, self._task, str(self._run_dir / f"{len(self.launched)}.sock"))
        self._replicas[spec.replica_id] = replica
        if not self.hold_boots:
            replica.may_load.set()
        if not self.hold_loads and not self.hold_boots:
            replica.may_serve.set()
        self._see(Sighting(spec.replica_id, Phase.STARTING, place))
        if place.node not in {node.name for node in self._nodes}:
            return self._end(spec.replica_id, f"there is no node {place.node}", host_died=True)
        self._models_on.setdefault(place.node, set()).add(spec.model_id)
        replica.task = asyncio.create_task(self._boot(replica), name=f"fake {spec.replica_id}")
        return None

    async def stop(self, replica_id: str, grace_s: float) -> None:
        replica = self._replicas.get(replica_id)
        if replica is None:
            return await self._adapters.stop(replica_id)
        self.stopped.append(replica_id)
        if self.hold_stops:
            await asyncio.wait({asyncio.ensure_future(replica.gone.wait())}, timeout=grace_s or None)
        if replica_id in self._replicas:  # it may have died and been forgotten meanwhile
            self._end(replica_id, "stopped")
        await replica.closed()
        return None

    def sightings(self) -> Sightings:
        return self._sightings

    def forget(self, replica_id: str) -> None:
        if self._sightings.forget(replica_id):
            self._adapters.forget(replica_id)
            if (replica := self._replicas.pop(replica_id, None)) is not None:
                self._forgotten.append(replica)

    def watch(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def end_strays(self, strays: Iterable[Stray]) -> int:
        return end_strays(
            (each.pid, each.started) for each in strays if each.node in {node.name for node in self._nodes}
        )

    async def prepare(self, card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        return await self._fetch(card, on_progress, account_id)

    def nodes_with(self, card: ModelCard) -> Collection[str]:
        return [node for node, models in self._models_on.items() if card.model_id in models]

    async def read_logs(self, folder: str, count: int) -> Sequence[ReplicaLog]:
        return sorted(self._logs.get(folder, []), key=lambda each: each.name, reverse=True)[:count]

    async def export(self, order: ExportOrder, place: Place, on_step: OnStep) -> dict[str, Any]:
        """Copies the original's configuration: all that a fake needs of a variant."""
        if not (Path(order.path) / "config.json").is_file():
            raise ModelRefused(f"{order.model_id} has no config.json")
        on_step(f"Copying {order.model_id} on {place.node}")
        target = Path(order.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as beside:
            facts = copy_config(msgspec.structs.asdict(order), Path(beside) / target.name)
            take_over(Path(beside) / target.name, target)
        return facts

    # --- inside ---

    async def _boot(self, replica: FakeReplica) -> None:
        replica_id = replica.spec.replica_id
        await replica.may_load.wait()
        replica.link = await replica.open(lambda status: self._heard(replica_id, status))
        replica.server.report(Loading())
        if self._ends:
            reason, refused = self._ends.pop(0)
            self._sightings[replica_id] = replace(self._sightings[replica_id], refused=refused)
            self._end(replica_id, reason)
        else:
            await replica.may_serve.wait()
            replica.serve(self.replica_memory_bytes, self.replica_device_bytes)

    def _heard(self, replica_id: str, status: Status) -> None:
        sighting = self._sightings.get(replica_id)
        if sighting is None or sighting.phase is Phase.GONE:
            return
        if isinstance(status, Loading):
            self._see(replace(sighting, phase=Phase.LOADING))
        elif isinstance(status, Ready):
            link = self._replicas[replica_id].link
            memory_bytes, peak_bytes, slots = status.memory_bytes, status.peak_bytes, status.slots
            self._see(
                replace(
                    sighting,
                    phase=Phase.READY,
                    link=link,
                    memory_bytes=memory_bytes,
                    peak_bytes=peak_bytes,
                    device_bytes=status.device_bytes,
                    slots=slots,
                )
            )

    def _end(self, replica_id: str, reason: str, **how: Any) -> None:
        replica = self._replicas[replica_id]
        if not replica.gone.is_set():
            replica.end()
            if replica.link is not None:
                replica.link.note_death(Death(reason, host_died=bool(how.get("host_died"))))
            self._write_log(replica.spec, reason)
            sighting = self._sightings[replica_id]
            self._see(replace(sighting, phase=Phase.GONE, link=None, reason=reason, **how))

    def _write_log(self, spec: ReplicaSpec, text: str) -> None:
        if spec.log_path is not None:
            path = Path(spec.log_path)
            self._logs.setdefault(str(path.parent), []).append(ReplicaLog(path.stem, text))

    def _see(self, sighting: Sighting) -> None:
        self._sightings[sighting.replica_id] = sighting
        self._adapters.note(sighting)
        self._tell()

    def _tell(self) -> None:
        self._on_change()
        for server in self.servers:
            server()


class FakeReplica:
    """A worker's frame server and model thread, in this process."""

    def __init__(self, spec: ReplicaSpec, place: Place, model: EchoModel, task: Task, path: str) -> None:
        self.spec = spec
        self.place = place
        self.model = model
        self.settings: list[Configure] = []
        self.server = WorkerServer(spec.secret, self.settings.append, load_adapter=self.load_adapter)
        self.link: Link | None = None
        self.task: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self.listening: asyncio.Task[None] | None = None
        self.may_load, self.may_serve, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.path = path
        self._slots = task.max_batch
        self._batcher = Batcher(task, model)
        self._thread = threading.Thread(target=self._batcher.run, name=f"model of {spec.replica_id}")

    async def load_adapter(self, folder: Path) -> EchoModel:
        """As a worker's life does."""
        return self.model.adapted(folder)

    async def open(self, on_status: Callable[[Status], None]) -> Link:
        """Listens, and connects to itself as an engine does."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        listening = self.server.listen(self._listener)
        self.listening = asyncio.create_task(listening, name=f"socket of {self.spec.replica_id}")
        await asyncio.shield(self.listening)  # cancelled in the middle it would leave a socket that nobody closes
        return await Link.connect(f"unix:{self.path}", self.spec.secret, on_status)

    def serve(self, memory_bytes: int, device_bytes: int | None) -> None:
        """Takes requests from now on."""
        self._thread.start()
        self.server.accept_calls(self._batcher)
        self.server.report(Ready(self._slots, memory_bytes, memory_bytes, device_bytes))

    def end(self) -> None:
        """Breaks every connection, at the next turn of the loop: asyncio never closes one that was accepted in the turn
        in which its server closes."""
        self.gone.set()
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener)
        loop.call_soon(self._break_off)
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    def _break_off(self) -> None:
        self.model.abandoned.set()
        self._batcher.close()
        self.server.abort()

    async def closed(self) -> None:
        """Returns when nothing of it is left, after `end`: no task, thread or socket."""
        await asyncio.sleep(0)  # until its connections are broken
        if self.task is not None:
            await asyncio.wait({self.task})
        if self.link is not None:
            await self.link.close()
        if self.listening is not None:
            await self.listening
        await self.server.close()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
