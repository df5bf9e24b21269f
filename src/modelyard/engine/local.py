"""Replicas as processes on this machine, forked from a nursery.

Owns the nursery process, the replicas' sockets and links, and how many threads each replica gets. Decides nothing
about which replica should exist.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil

from modelyard.engine.base import Engine, Node, Phase, Sighting
from modelyard.engine.link import Link
from modelyard.errors import ReplicaLost
from modelyard.types import ReplicaSpec
from modelyard.worker.memory import start_ticks
from modelyard.worker.nursery import SINGLE_THREADED, kill_group

log = logging.getLogger(__name__)

PING_EVERY_S = 10.0
PING_DEADLINE_S = 30.0
"""A worker whose loop does not answer for this long is stuck and is killed."""
NURSERY_RESTART_DELAY_S = 1.0
LAST_LINES_BYTES = 4096


class LocalEngine(Engine):
    """One nursery, many forked workers."""

    def __init__(self, memory_bytes: int, *, node: str | None = None, cores: int | None = None) -> None:
        """`memory_bytes`: what all replicas together may hold; `cores`: how many their threads may use."""
        self._node = Node(node or socket.gethostname(), memory_bytes)
        self._cores = cores or usable_cores()
        self._specs: dict[str, ReplicaSpec] = {}
        self._sightings: dict[str, Sighting] = {}
        self._said: dict[str, str] = {}
        self._gone: dict[str, asyncio.Event] = {}
        self._on_change: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._run_dir: Path | None = None
        self._nursery: asyncio.subprocess.Process | None = None
        self._to_nursery: asyncio.StreamWriter | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._closing = False

    async def start(self) -> None:
        # A short path: a Unix socket's name has room for about 100 bytes.
        self._run_dir = Path(tempfile.mkdtemp(prefix="modelyard-", dir=os.environ.get("XDG_RUNTIME_DIR")))
        await self._start_nursery()
        self._keeper = asyncio.create_task(self._keep_nursery(), name="nursery keeper")

    @property
    def warm(self) -> bool:
        return self._ready.is_set()

    async def close(self) -> None:
        self._closing = True
        await asyncio.gather(*(self.stop(replica_id, grace_s=2.0) for replica_id in list(self._sightings)))
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._to_nursery is not None:
            self._to_nursery.close()  # the nursery ends when its owner's socket closes
        if self._nursery is not None:
            await end_process(self._nursery)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._run_dir is not None:
            shutil.rmtree(self._run_dir, ignore_errors=True)

    def nodes(self) -> tuple[Node, ...]:
        return (self._node,)

    def watch(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def sightings(self) -> Mapping[str, Sighting]:
        return self._sightings

    def forget(self, replica_id: str) -> None:
        sighting = self._sightings.get(replica_id)
        if sighting is not None and sighting.phase is Phase.GONE:
            for table in (self._sightings, self._specs, self._said, self._gone):
                table.pop(replica_id, None)

    def launch(self, spec: ReplicaSpec) -> None:
        if spec.replica_id in self._sightings:
            return
        spec = replace(spec, threads=self._share(extra=1))
        self._specs[spec.replica_id] = spec
        self._gone[spec.replica_id] = asyncio.Event()
        self._see(Sighting(spec.replica_id, Phase.STARTING))
        self._command(spawn=spec, socket=str(self._socket_path(spec.replica_id)))
        self._share_cores()

    async def stop(self, replica_id: str, grace_s: float) -> None:
        sighting = self._sightings.get(replica_id)
        if sighting is None or sighting.phase is Phase.GONE:
            return
        if sighting.pid is None:  # not forked yet: the nursery forks in order, so it will be killed as it starts
            self._said.setdefault(replica_id, "stopped before it started")
            return await self._wait_gone(replica_id, None)
        kill_group(sighting.pid, signal.SIGTERM)
        await self._wait_gone(replica_id, grace_s)

    def end_strays(self, processes: Iterable[tuple[int, int]]) -> int:
        ended = 0
        for pid, ticks in processes:
            if start_ticks(pid) == ticks:
                kill_group(pid, signal.SIGKILL)
                ended += 1
        return ended

    async def _wait_gone(self, replica_id: str, grace_s: float | None) -> None:
        gone = self._gone[replica_id]
        try:
            await asyncio.wait_for(gone.wait(), grace_s)
        except TimeoutError:
            pid = self._sightings[replica_id].pid
            log.warning("replica %s ignored SIGTERM for %.1f s: killing it", replica_id, grace_s)
            if pid is not None:
                kill_group(pid, signal.SIGKILL)
            await gone.wait()

    # --- the nursery ---

    async def _start_nursery(self) -> None:
        ours, theirs = socket.socketpair()
        self._nursery = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "modelyard.worker.nursery", str(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **SINGLE_THREADED, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        theirs.close()
        reader, self._to_nursery = await asyncio.open_connection(sock=ours)
        self._reader = reader

    async def _keep_nursery(self) -> None:
        """Reads what the nursery says; when it dies, counts its replicas as gone and starts another."""
        while True:
            async for line in self._reader:
                self._hear(msgspec.json.decode(line))
            self._ready.clear()
            log.error("the nursery died; starting another")
            for replica_id, sighting in list(self._sightings.items()):
                if sighting.phase is not Phase.GONE:
                    if sighting.pid is not None:
                        kill_group(sighting.pid, signal.SIGKILL)
                    self._bury(replica_id, "its nursery died")
            if self._to_nursery is not None:
                self._to_nursery.close()
            if self._nursery is not None:
                await end_process(self._nursery)
            await asyncio.sleep(NURSERY_RESTART_DELAY_S)
            await self._start_nursery()

    def _command(self, **message: Any) -> None:
        if self._to_nursery is not None:
            self._to_nursery.write(msgspec.json.encode(message) + b"\n")

    def _hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"ready": milliseconds}:
                log.info("nursery ready after %d ms", milliseconds)
                self._ready.set()
            case {"started": replica_id, "pid": pid}:
                self._started(replica_id, pid)
            case {"refused": replica_id, "reason": reason}:
                self._bury(replica_id, reason)
            case {"exited": pid, "status": status}:
                for replica_id, sighting in list(self._sightings.items()):
                    if sighting.pid == pid and sighting.phase is not Phase.GONE:
                        self._bury(replica_id, self._said.get(replica_id) or self._describe_end(replica_id, status))

    # --- replicas ---

    def _started(self, replica_id: str, pid: int) -> None:
        if replica_id not in self._sightings:
            return kill_group(pid, signal.SIGKILL)
        self._see(Sighting(replica_id, Phase.STARTING, pid=pid, pid_started=start_ticks(pid)))
        if replica_id in self._said:  # stopped before it started
            return kill_group(pid, signal.SIGKILL)
        self._spawn(self._attend(replica_id), f"replica {replica_id}")

    async def _attend(self, replica_id: str) -> None:
        """Connects to a new worker and watches over it until its link closes."""
        spec = self._specs[replica_id]
        address = f"unix:{self._socket_path(replica_id)}"
        link: Link | None = None

        def on_status(status: Mapping[str, Any]) -> None:
            self._heard_status(replica_id, link, status)

        try:
            link = await Link.connect(address, spec.secret, on_status)
        except ReplicaLost as error:
            log.warning("%s", error)  # its exit, or the start deadline, is what counts
            return
        try:
            while not link.closed:
                if not await link.ping(PING_DEADLINE_S) and not link.closed:
                    self._said[replica_id] = f"stuck: no sign of life for {PING_DEADLINE_S:.0f} s"
                    pid = self._sightings[replica_id].pid
                    if pid is not None:
                        kill_group(pid, signal.SIGKILL)
                    return
                await link.wait_closed(PING_EVERY_S)
        finally:
            await link.close()

    def _heard_status(self, replica_id: str, link: Link | None, status: Mapping[str, Any]) -> None:
        sighting = self._sightings.get(replica_id)
        if sighting is None or sighting.phase is Phase.GONE:
            return
        match status["phase"]:
            case "loading":
                self._see(replace(sighting, phase=Phase.LOADING))
            case "ready":
                self._see(
                    replace(
                        sighting,
                        phase=Phase.READY,
                        link=link,
                        memory_bytes=status["memory_bytes"],
                        slots=status["slots"],
                    )
                )
                self._share_cores()
            case "failed":
                self._said[replica_id] = status["reason"]
                self._see(replace(sighting, refused=True))

    def _bury(self, replica_id: str, reason: str) -> None:
        sighting = self._sightings[replica_id]
        self._see(replace(sighting, phase=Phase.GONE, link=None, reason=reason))
        self._gone[replica_id].set()
        self._socket_path(replica_id).unlink(missing_ok=True)
        self._share_cores()

    def _see(self, sighting: Sighting) -> None:
        self._sightings[sighting.replica_id] = sighting
        self._on_change()

    def _describe_end(self, replica_id: str, status: int) -> str:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name
            hint = " (the machine may have run out of memory)" if number == signal.SIGKILL else ""
            return f"killed by {name}{hint}"
        code = os.waitstatus_to_exitcode(status)
        return "stopped" if code == 0 else f"exited with code {code}: {self._last_line(replica_id)}"

    def _last_line(self, replica_id: str) -> str:
        path = self._specs[replica_id].log_path
        if path is None or not Path(path).exists():
            return "no log"
        with open(path, "rb") as file:
            file.seek(max(0, Path(path).stat().st_size - LAST_LINES_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"

    # --- threads ---

    def _live(self) -> int:
        return sum(1 for sighting in self._sightings.values() if sighting.phase is not Phase.GONE)

    def _share(self, extra: int = 0) -> int:
        """Threads per replica: too many at once are several times slower than too few."""
        return max(1, self._cores // max(1, self._live() + extra))

    def _share_cores(self) -> None:
        threads = self._share()
        for replica_id, sighting in self._sightings.items():
            spec = self._specs[replica_id]
            if sighting.link is not None and spec.threads != threads:
                sighting.link.configure(threads=threads)
                self._specs[replica_id] = replace(spec, threads=threads)

    def _socket_path(self, replica_id: str) -> Path:
        assert self._run_dir is not None, "start() first"  # noqa: S101
        return self._run_dir / f"{replica_id}.sock"

    def _spawn(self, coroutine: Any, name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def end_process(process: asyncio.subprocess.Process, grace_s: float = 2.0) -> None:
    """Waits for a process that was told to end; kills it after `grace_s`."""
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        process.kill()
        await process.wait()


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory_bytes(fraction: float = 0.9) -> int:
    """What replicas may hold on this machine: `fraction` of what is free now, within the cgroup's limit."""
    limits = [psutil.virtual_memory().available]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return int(min(limits) * fraction)
