"""Replicas as processes on this machine, forked from a nursery.

Owns the replicas' processes, sockets and links, how many threads each replica gets, and the folder of their logs.
Decides nothing about which replica should exist.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from modelyard.engine.adapter_replicas import AdapterReplicas
from modelyard.engine.base import Device, Engine, Fetch, Node, OnStep, Phase, Place, ReplicaLog, Sighting, Stray
from modelyard.engine.deaths import count_oom_kills, describe_end, find_lack
from modelyard.engine.devices import DEVICE_WAIT_S, FreeOn, PlacedDevices
from modelyard.engine.excess import find_excess
from modelyard.engine.export import PROGRAM, make_variant
from modelyard.engine.forks import Forks
from modelyard.engine.link import Link
from modelyard.engine.local_replica import LocalReplica
from modelyard.engine.logs import read_logs
from modelyard.engine.machine import usable_cores
from modelyard.engine.nursery_process import NurseryProcess
from modelyard.engine.processors import Processors
from modelyard.engine.rundir import RunDir, remove_tree
from modelyard.engine.sightings import Sightings
from modelyard.engine.standby_process import STANDBY
from modelyard.engine.strays import end_strays
from modelyard.errors import DownloadFailed, ReplicaLost, UnknownNode
from modelyard.protocol import Failed, Loading, Ready, Status
from modelyard.records.deaths import Death
from modelyard.records.models import ModelCard, OnProgress
from modelyard.records.replicas import ReplicaSpec
from modelyard.records.variants import ExportOrder
from modelyard.worker.memory import start_ticks
from modelyard.worker.nursery_messages import Exited, Refused, Report, Spawn, Started
from modelyard.worker.processes import kill_group
from modelyard.worker.second_nursery import ENDED

log = logging.getLogger(__name__)

PING_EVERY_S = 10.0
PING_DEADLINE_S = 30.0
"""A worker whose loop does not answer for this long is stuck and is killed."""
LAST_FRAMES_S = 1.0
"""How long the last frames of a process that has ended may take to be read."""
EXIT_S = 5.0
"""How long a worker that has closed its connection may take to exit."""
CLOSE_GRACE_S = 2.0
SCRATCH_SUFFIX = ".files"


async def fetch_nothing(card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
    """The folder of a model that is on this machine. Raises DownloadFailed for others."""
    if card.path is None:
        raise DownloadFailed(f"{card.model_id} is not on this machine.", model=card.model_id)
    return card.path


class LocalEngine(Engine):
    """One nursery, many forked workers."""

    def __init__(
        self,
        memory_bytes: int,
        *,
        node: str | None = None,
        cores: int | None = None,
        devices: Sequence[Device] | None = None,
        log_dir: Path | None = None,
        fetch: Fetch = fetch_nothing,
        ping_every_s: float = PING_EVERY_S,
        ping_deadline_s: float = PING_DEADLINE_S,
        standby: Sequence[str] = STANDBY,
        exporter: Sequence[str] = PROGRAM,
        sandbox: str = "auto",
        allow_network: Collection[str] = (),
        host: str = "",
        is_shared: bool = False,
        free_on: FreeOn | None = None,
        device_wait_s: float = DEVICE_WAIT_S,
    ) -> None:
        """`memory_bytes`: what all replicas together may hold; `cores`: how many their threads may use. `devices`: the
        accelerators that replicas may be placed on, others use none; None: nobody knows, each takes what it finds.

        `log_dir`: what relative paths of logs are relative to. `standby`, `exporter`: the programs whose nurseries fork
        replicas, and that make variants. A worker is asked for a sign of life every `ping_every_s`, and killed when it
        gives none for `ping_deadline_s`. `sandbox`: off; or auto, strict: as confined as this machine allows.
        `allow_network`: the models that may open connections all the same. `host`: the address of this machine on which
        workers take connections, by TCP; empty: they take them on Unix sockets of this user. `is_shared`: other
        processes of this server send requests to them too. `free_on`: what is free on a device at this moment; None: it
        cannot be known. A replica whose devices lack what is reserved for it waits for that up to `device_wait_s`.
        """
        self._cores = cores or usable_cores()
        self._devices = PlacedDevices(devices, free_on, device_wait_s)
        self._node = Node(node or socket.gethostname(), memory_bytes, tuple(devices or ()), cores=self._cores)
        self._log_dir = log_dir or Path()
        self._fetch = fetch
        self._exporter = exporter
        self._sandbox = sandbox
        self._allow_network = frozenset(allow_network)
        self._host = host
        self._is_shared = is_shared
        self._ping_every_s = ping_every_s
        self._ping_deadline_s = ping_deadline_s
        self._nursery = NurseryProcess(self._take_report, self._nursery_died, standby)
        self._replicas: dict[str, LocalReplica] = {}
        self._processors = Processors(self._cores, self._replicas)
        self._by_pid: dict[int, LocalReplica] = {}
        self._sightings = Sightings()
        self._adapters = AdapterReplicas(self._sightings, self._update)
        self._large_frames = asyncio.Lock()
        self._on_change: Callable[[], None] = lambda: None
        self._forks = Forks(self._nursery.send, self._devices)
        self._tasks: set[asyncio.Task[None]] = set()
        self._launches = 0
        self._run_dir: RunDir | None = None
        self._closing = False

    async def start(self) -> None:
        self._run_dir = RunDir()
        self._nursery.start()

    async def lead(self, token: int) -> None:
        return

    async def close(self) -> None:
        self._closing = True
        self._processors.close()
        await self._adapters.close()
        await asyncio.gather(*(self.stop(replica_id, CLOSE_GRACE_S) for replica_id in list(self._replicas)))
        await self._nursery.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._run_dir is not None:
            self._run_dir.close()

    @property
    def warm(self) -> bool:
        return self._nursery.ready

    @property
    def nursery_pid(self) -> int | None:
        """The process that replicas are forked from, while there is one."""
        return self._nursery.pid

    @property
    def standby_pid(self) -> int | None:
        """The process that the next nursery will be forked from, while there is one."""
        return self._nursery.standby_pid

    def nodes(self) -> tuple[Node, ...]:
        return (self._node,)

    async def take_launches(self, node: str, accepting: bool, device: str | None = None) -> None:
        if node != self._node.name:
            raise UnknownNode(f"There is no node {node}; there is {self._node.name}.", node=node)
        self._node = self._node.taking(accepting, device)
        self._on_change()

    def watch(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def sightings(self) -> Sightings:
        return self._sightings

    def forget(self, replica_id: str) -> None:
        if self._sightings.forget(replica_id):
            self._replicas.pop(replica_id, None)
            self._adapters.forget(replica_id)

    def launch(self, spec: ReplicaSpec, place: Place) -> None:
        if spec.replica_id in self._sightings or self._closing:
            return None
        if spec.beside is not None:
            return self._adapters.launch(spec, place)
        assert self._run_dir is not None, "start() first"  # noqa: S101
        self._launches += 1
        path = self._run_dir.path / f"{self._launches}.sock"
        owner, spec = spec.owner, self._complete(spec, place, path.with_suffix(SCRATCH_SUFFIX))
        replica = self._replicas[spec.replica_id] = LocalReplica(spec, path, spec.threads, owner)
        self._update(Sighting(spec.replica_id, Phase.STARTING, place))
        if place.node != self._node.name:
            return self._mark_gone(replica, f"there is no node {place.node}", host_died=True)
        if absent := self._devices.find_absent(place):
            return self._mark_gone(replica, f"there is no device {absent} on {place.node}", host_died=True)
        spawn = Spawn(spec, str(path), self._host)
        if place.devices:
            self._start_task(self._fork_when_free(replica, spawn, place), f"devices of {spec.replica_id}")
        else:
            self._forks.add(spawn)
        return self._processors.share()

    async def _fork_when_free(self, replica: LocalReplica, spawn: Spawn, place: Place) -> None:
        lack = await self._forks.add_when_free(spawn, place)
        if lack is not None and not replica.gone.is_set():
            self._mark_gone(replica, lack)

    def _complete(self, spec: ReplicaSpec, place: Place, scratch: Path) -> ReplicaSpec:
        """The spec with what only this machine knows."""
        return replace(
            spec,
            owner="",
            cluster_id="",
            threads=self._processors.threads_of_next(spec),
            **self._devices.tell_worker(spec, place),
            log_path=spec.log_path and str(self._log_dir / spec.log_path),
            sandbox=self._sandbox,
            network=spec.model_id in self._allow_network,
            scratch=str(scratch),
        )

    async def stop(self, replica_id: str, grace_s: float) -> None:
        replica = self._replicas.get(replica_id)
        if replica is None or replica.gone.is_set():
            return await self._adapters.stop(replica_id)
        if replica.pid is None:  # not forked yet; if the nursery was asked for it, it will be killed as it starts
            self._forks.drop(replica_id)
            return self._mark_gone(replica, "stopped before it started")
        replica.note_reason("stopped")
        replica.signal(signal.SIGTERM if grace_s else signal.SIGKILL)
        try:
            async with asyncio.timeout(grace_s or None):
                await replica.gone.wait()
        except TimeoutError:
            log.warning("replica %s did not stop within %.1f s: killing it", replica_id, grace_s)
            replica.signal(signal.SIGKILL)
            await replica.gone.wait()

    def end_strays(self, strays: Iterable[Stray]) -> int:
        return end_strays((each.pid, each.started) for each in strays if each.node == self._node.name)

    async def prepare(self, card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        return await self._fetch(card, on_progress, account_id)

    def nodes_with(self, card: ModelCard) -> Collection[str]:
        return (self._node.name,)

    async def read_logs(self, folder: str, count: int) -> Sequence[ReplicaLog]:
        return await asyncio.to_thread(read_logs, self._log_dir / folder, count)

    async def export(self, order: ExportOrder, place: Place, on_step: OnStep) -> dict[str, Any]:
        order = msgspec.structs.replace(order, threads=self._cores, sandbox=self._sandbox)
        return await make_variant(order, on_step, self._exporter)

    # --- what the nursery reports ---

    def _take_report(self, report: Report) -> None:
        match report:
            case Started(replica_id, pid, path, address):
                self._forks.answered(replica_id)
                self._started(replica_id, pid, Path(path), address)
            case Refused(replica_id, reason):
                self._forks.answered(replica_id)
                replica = self._replicas.get(replica_id)
                if replica is not None and not replica.gone.is_set():
                    self._mark_gone(replica, reason)
            case Exited(pid, status):
                if (replica := self._by_pid.pop(pid, None)) is not None:
                    if status is None:
                        replica.note_reason(ENDED)
                    self._exited(replica, status)

    def _started(self, replica_id: str, pid: int, path: Path, address: str) -> None:
        replica = self._replicas.get(replica_id)
        if replica is None or replica.gone.is_set() or replica.socket != path:  # stopped before it started
            path.unlink(missing_ok=True)
            return kill_group(pid, signal.SIGKILL)
        replica.pid, replica.address = pid, address
        self._by_pid[pid] = replica
        self._processors.share()
        seen = replace(self._sightings[replica_id], pid=pid, pid_started=start_ticks(pid), address=address)
        self._update(seen)
        return self._start_task(self._follow(replica), f"replica {replica_id}")

    def _exited(self, replica: LocalReplica, status: int | None) -> None:
        replica.exited.set_result(status)
        if replica.link is not None:  # else it is still connecting, and will fail to
            self._start_task(close_when_read(replica.link), f"last frames of {replica.spec.replica_id}")

    def _nursery_died(self, end: str) -> None:
        """What it had forked dies with it; what it was asked to fork will not come."""
        self._forks.nursery_died()
        for replica in list(self._replicas.values()):
            if replica.gone.is_set() or self._forks.has(replica.spec.replica_id):
                continue
            replica.note_reason(end)
            if replica.pid is None:
                self._mark_gone(replica, end)
            elif not replica.exited.done():
                replica.signal(signal.SIGKILL)
                self._exited(replica, None)
        self._by_pid.clear()
        self._forks.go_on()

    # --- replicas ---

    async def _follow(self, replica: LocalReplica) -> None:
        """A replica's life from its fork to its end."""
        why = await self._attend(replica)
        if replica.reason is None and not replica.exited.done() and not replica.served:
            # One that loads may lack the memory to read a frame with; then it has still to say that it failed.
            why = await self._attend(replica)
        try:
            async with asyncio.timeout(EXIT_S):
                await asyncio.shield(replica.exited)
        except TimeoutError:
            log.warning("replica %s: %s", replica.spec.replica_id, why)
            replica.note_reason(why)
            replica.signal(signal.SIGKILL)
        status = await replica.exited
        death = self._find_death(replica, status)
        if replica.link is not None:
            replica.link.note_death(death)
        self._mark_gone(replica, death.reason, host_died=death.host_died)

    async def _attend(self, replica: LocalReplica) -> str:
        """One connection to a replica, from its beginning to its end; what was the matter then."""
        try:
            replica.link = link = await Link.connect(
                replica.address,
                replica.spec.secret,
                lambda status: self._take_status(replica, status),
                self._ping_deadline_s,
                self._large_frames,
                lambda: self._processors.note_use(replica.spec.replica_id),
                replica_id=replica.spec.replica_id,
            )
        except ReplicaLost as error:
            return error.message
        why = await self._wait_for_end(replica, link)
        await link.close()
        return why

    async def _wait_for_end(self, replica: LocalReplica, link: Link) -> str:
        """Returns, with what was the matter, when the link has closed; that of a stuck worker is closed for it."""
        while not link.closed:
            oom_kills = count_oom_kills()
            if await link.ping(self._ping_deadline_s):
                replica.oom_kills = oom_kills
            elif not link.closed:
                replica.note_reason(f"stuck: no sign of life for {self._ping_deadline_s:g} s")
                replica.signal(signal.SIGKILL)
                break
            if (excess := await self._find_excess(replica)) is not None:
                replica.note_reason(f"was ended: {excess}")
                replica.signal(signal.SIGKILL)
                break
            await link.wait_closed(self._ping_every_s)
        if link.fault is None:
            return "its connection broke"
        replica.note_reason(f"its connection was closed: {link.fault}")
        replica.signal(signal.SIGKILL)
        return link.fault

    async def _find_excess(self, replica: LocalReplica) -> str | None:
        if replica.pid is None or self._sandbox == "off":
            return None
        return await asyncio.to_thread(find_excess, replica.pid, replica.socket.with_suffix(SCRATCH_SUFFIX))

    def _take_status(self, replica: LocalReplica, status: Status) -> None:
        sighting = self._sightings.get(replica.spec.replica_id)
        if sighting is None or replica.gone.is_set():
            return
        match status:
            case Loading():
                self._update(replace(sighting, phase=Phase.LOADING))
            case Ready():
                replica.served = True
                if not self._is_shared:
                    replica.socket.unlink(missing_ok=True)  # nobody else is to connect
                self._update(
                    replace(
                        sighting,
                        phase=Phase.READY,
                        link=replica.link,
                        memory_bytes=status.memory_bytes,
                        peak_bytes=status.peak_bytes,
                        device_bytes=status.device_bytes,
                        slots=status.slots,
                        joins=status.joins,
                    )
                )
                self._processors.share()
            case Failed(reason, permanent):
                replica.note_reason(reason)
                self._update(replace(sighting, refused=permanent))

    def _mark_gone(self, replica: LocalReplica, reason: str, *, host_died: bool = False) -> None:
        replica.socket.unlink(missing_ok=True)
        replica.gone.set()
        if replica.pid is not None and self._sandbox != "off":
            removal = asyncio.to_thread(remove_tree, replica.socket.with_suffix(SCRATCH_SUFFIX))
            self._start_task(removal, "removal of a scratch folder")
        sighting = self._sightings[replica.spec.replica_id]
        self._update(replace(sighting, phase=Phase.GONE, link=None, reason=reason, host_died=host_died))
        self._processors.share()

    def _update(self, sighting: Sighting) -> None:
        self._sightings[sighting.replica_id] = sighting
        self._adapters.note(sighting)
        self._on_change()

    def _find_death(self, replica: LocalReplica, status: int | None) -> Death:
        if replica.reason is not None:
            return Death(replica.reason, host_died=status is None)
        spec, code = replica.spec, os.waitstatus_to_exitcode(status or 0)
        lack = find_lack(code, spec.log_path, count_oom_kills() - replica.oom_kills)
        held_bytes = self._sightings[spec.replica_id].memory_bytes
        return Death(describe_end(code, spec.log_path, lack), lack, held_bytes, spec.memory_limit_bytes)

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)


async def close_when_read(link: Link) -> None:
    """Closes a link whose worker has ended, once what it sent before that was read."""
    await link.wait_closed(LAST_FRAMES_S)
    await link.close()
