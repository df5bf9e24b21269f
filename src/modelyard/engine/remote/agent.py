"""A node's agent: runs the replicas of one machine for whichever server leads, and outlives all of them.

Owns the connections of servers, the highest token that one has led with, and the files of replicas until these are
launched. Everything else of a replica is the local engine's.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from modelyard.engine.base import UNLED_S, Condition, Phase, Place, Sighting
from modelyard.engine.doors import Enter
from modelyard.engine.link import Link
from modelyard.engine.local import LocalEngine
from modelyard.engine.remote.messages import (
    LINE_BYTES,
    ORDER_BYTES,
    Alive,
    AllSeen,
    Answer,
    Ask,
    Cancel,
    Drain,
    Export,
    Facts,
    Failed,
    Forget,
    Greet,
    Launch,
    Lead,
    ReadLogs,
    Seen,
    Step,
    Stop,
    ToAgent,
    ToServer,
    read_orders,
    to_line,
)
from modelyard.errors import LeaseLost, ModelyardError
from modelyard.records.deaths import Death
from modelyard.records.replicas import ReplicaSpec
from modelyard.tls import Entrance, LinkTls

log = logging.getLogger(__name__)

Locate = Callable[[str, Path], Awaitable[Path]]
"""Where the files of a model, by its id, are on this machine, which the server has in that folder; gets them here
first, where that is possible. Raises ModelyardError."""
SILENT_S = 10.0
"""A server that asks for no sign of life for so long is not there any more."""
PIECE_BYTES = 256 * 1024
"""What is passed on at once between a server and a replica."""
UNREAD_BYTES = LINE_BYTES
"""What a server may leave unread before its connection is closed."""
UNTOLD = Facts(0, [], None, False, False, "")


async def locate_here(model_id: str, folder: Path) -> Path:
    """For machines that share every folder with their servers."""
    return folder


class Connection:
    """One server that has shown the secret, and the calls of it that still run. Loop thread only."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.calls: dict[int, asyncio.Task[None]] = {}
        self.facts = UNTOLD

    def tell(self, message: ToServer) -> None:
        """Sends a message soon; a server that does not read is left."""
        if self._writer.transport.get_write_buffer_size() > UNREAD_BYTES:
            self._writer.transport.abort()
        self._writer.write(to_line(message))

    def close(self) -> None:
        """Closes the connection; what it has called for ends."""
        for task in self.calls.values():
            task.cancel()
        self._writer.close()


class NodeAgent:
    """Speaks for one local engine, whose replicas take connections by TCP. Loop thread only."""

    def __init__(
        self,
        engine: LocalEngine,
        secret: str,
        *,
        locate: Locate = locate_here,
        unled_s: float = UNLED_S,
        tls: LinkTls | None = None,
    ) -> None:
        """`engine`: started, and closed by whoever has made it. `unled_s`: after so long without a server that leads,
        replicas are ended. `tls`: what is shown to servers, and wanted of them; then the engine's workers are to take
        connections on Unix sockets, to which this agent leads the servers. None: nothing is encrypted, and they are to
        take them by TCP."""
        self._engine = engine
        self._secret = secret
        self._locate = locate
        self._unled_s = unled_s
        (self._node,) = engine.nodes()
        self._token = 0
        self._leader: Connection | None = None
        self._unled: asyncio.TimerHandle | None = None
        self._connections: set[Connection] = set()
        self._specs: dict[str, ReplicaSpec] = {}
        self._seen: dict[str, Sighting] = {}
        self._links: dict[str, Link] = {}
        self._deaths: dict[str, Death] = {}
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls = tls
        self._entrance: Entrance | None = None
        self._address = ""
        self._machine = name_machine()
        self.abandoned = asyncio.Event()
        """Set when no server has been there for so long that its replicas have been ended."""

    def serve(self, listener: socket.socket) -> None:
        """Takes connections from now on."""
        host, port, *_ = listener.getsockname()
        self._address = f"tls://{host}:{port}"
        self._engine.watch(self._look)
        self._entrance = Entrance(listener, self._take_connection, self._tls)
        self._entrance.open()
        self._note_unled()

    async def close(self) -> None:
        """Leaves every server. Replicas are the engine's to end."""
        if self._entrance is not None:
            await self._entrance.close()
        if self._unled is not None:
            self._unled.cancel()
        for connection in list(self._connections):
            connection.close()
        tasks = [*self._tasks, *self._preparing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- servers ---

    def _take_connection(self) -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=ORDER_BYTES), self._attend)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: Connection | None = None
        try:
            orders = read_orders(reader)
            while True:
                async with asyncio.timeout(SILENT_S):
                    order = await anext(orders, None)
                if order is None:
                    break
                if connection is not None:
                    self._take(connection, order)
                elif isinstance(order, Greet) and hmac.compare_digest(order.secret.encode(), self._secret.encode()):
                    connection = self._welcome(writer)
                elif isinstance(order, Enter) and self._tls is not None:
                    await self._lead_in(order.replica_id, reader, writer)
                    break
                else:
                    break
        except TimeoutError:
            log.warning("a server gave no sign of life for %g s", SILENT_S)
        except (OSError, ValueError) as error:
            log.warning("dropping a server's connection: %s", error)
        finally:
            if connection is None:
                writer.close()
            else:
                self._leave(connection)

    async def _lead_in(self, replica_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Leads a server to a replica, which wants to be shown its secret; returns when either has left. Raises
        OSError."""
        seen = self._seen.get(replica_id)
        if seen is None or seen.address is None:
            return
        inner_reader, inner_writer = await asyncio.open_unix_connection(seen.address.removeprefix("unix:"))
        both = [
            asyncio.create_task(pass_on(reader, inner_writer), name=f"to {replica_id}"),
            asyncio.create_task(pass_on(inner_reader, writer), name=f"from {replica_id}"),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            inner_writer.close()

    def _welcome(self, writer: asyncio.StreamWriter) -> Connection:
        connection = Connection(writer)
        self._connections.add(connection)
        self._tell_facts(connection)
        for replica_id in self._seen:
            connection.tell(self._describe(replica_id))
        connection.tell(AllSeen())
        return connection

    def _leave(self, connection: Connection) -> None:
        connection.close()
        self._connections.discard(connection)
        if connection is self._leader:
            self._leader = None
        self._note_unled()

    def _note_unled(self) -> None:
        if self._leader is None and self._unled is None:
            self._unled = asyncio.get_running_loop().call_later(self._unled_s, self._abandon)

    def _abandon(self) -> None:
        self._unled = None
        if self._leader is None:
            self._start_task(self._end_all(), "end of what nobody leads")

    async def _end_all(self) -> None:
        if living := [each for each, seen in self._seen.items() if seen.phase is not Phase.GONE]:
            log.warning("no server leads: ending %d replicas", len(living))
        await asyncio.gather(*(self._end(replica_id, 0.0) for replica_id in living))
        if not self._connections:
            self.abandoned.set()

    def _take(self, connection: Connection, order: ToAgent) -> None:
        match order:
            case Ask():
                self._tell_facts(connection)
                connection.tell(Alive())
            case Launch(token, spec, devices):
                self._launch(connection, token, spec, Place(self._node.name, devices))
            case Forget(token, replica_id):
                if token == self._token:
                    self._forget(replica_id)
            case Lead(call, token):
                self._begin(connection, call, self._lead(connection, token))
            case Stop(call, token, replica_id, grace_s):
                self._begin(connection, call, self._stop(connection, token, replica_id, grace_s))
            case Export(call):
                self._begin(connection, call, self._export(connection, order))
            case ReadLogs(call, folder, count):
                self._begin(connection, call, self._read_logs(call, folder, count))
            case Drain(call, token, accepting, device):
                self._begin(connection, call, self._drain(connection, token, accepting, device))
            case Cancel(call):
                if (task := connection.calls.get(call)) is not None:
                    task.cancel()
            case _:
                raise ValueError(f"a {type(order).__name__} that makes no sense here")

    def _begin(self, connection: Connection, call: int, work: Coroutine[Any, Any, Answer | None]) -> None:
        task = asyncio.create_task(self._answer(connection, call, work), name=f"call {call}")
        connection.calls[call] = task
        task.add_done_callback(lambda done: connection.calls.pop(call, None))

    async def _answer(self, connection: Connection, call: int, work: Coroutine[Any, Any, Answer | None]) -> None:
        try:
            answer = await work or Answer(call)
        except ModelyardError as error:
            answer = Answer(call, Failed.of(error))
        except Exception:
            log.exception("a call could not be answered")
            answer = Answer(call, Failed("internal", "the agent's log says why"))
        connection.tell(answer)

    # --- what servers ask for ---

    async def _lead(self, connection: Connection, token: int) -> None:
        self._check(connection, token)

    def _check(self, connection: Connection, token: int) -> None:
        """Takes the server for the one that leads. Raises LeaseLost when another has led with a higher token."""
        if token < self._token:
            raise LeaseLost()
        if token > self._token:  # whoever leads anew is shown what lives
            for replica_id in list(self._seen):
                self._forget(replica_id)
        self._token, self._leader = token, connection
        if self._unled is not None:
            self._unled.cancel()
            self._unled = None

    def _launch(self, connection: Connection, token: int, spec: ReplicaSpec, place: Place) -> None:
        if spec.replica_id in self._specs:
            return
        try:
            self._check(connection, token)
        except LeaseLost:
            reason = "another server leads"
            gone = Condition(spec.replica_id, Phase.GONE, place, reason=reason, host_died=True)
            connection.tell(Seen(gone, spec))
            return
        self._specs[spec.replica_id] = spec
        self._seen[spec.replica_id] = Sighting(spec.replica_id, Phase.STARTING, place)
        task = asyncio.create_task(self._prepare(spec, place), name=f"files of {spec.replica_id}")
        self._preparing[spec.replica_id] = task

    async def _prepare(self, spec: ReplicaSpec, place: Place) -> None:
        """Gets a replica's files here, and launches it."""
        try:
            path = await self._locate(spec.model_id, Path(spec.path))
            base = None if spec.base is None else str(await self._locate("", Path(spec.base)))
        except ModelyardError as error:
            log.warning("%s: %s", spec.replica_id, error)
            self._note_unlaunched(spec.replica_id, error.message, refused=not error.retryable)
        except OSError as error:
            self._note_unlaunched(spec.replica_id, f"its files cannot be had on this node: {error}")
        else:
            self._engine.launch(replace(spec, path=str(path), base=base), place)
        finally:
            self._preparing.pop(spec.replica_id, None)

    def _note_unlaunched(self, replica_id: str, reason: str, *, refused: bool = False) -> None:
        """It has ended before the engine knew it."""
        gone = replace(self._seen[replica_id], phase=Phase.GONE, reason=reason, refused=refused)
        self._seen[replica_id] = gone
        self._tell_all(self._describe(replica_id))

    async def _stop(self, connection: Connection, token: int, replica_id: str, grace_s: float) -> None:
        self._check(connection, token)
        await self._end(replica_id, grace_s)

    async def _end(self, replica_id: str, grace_s: float) -> None:
        if (task := self._preparing.get(replica_id)) is not None:
            task.cancel()
            await asyncio.wait({task})
            if replica_id not in self._engine.sightings():
                return self._note_unlaunched(replica_id, "stopped before it started")
        return await self._engine.stop(replica_id, grace_s)

    def _forget(self, replica_id: str) -> None:
        seen = self._seen.get(replica_id)
        if seen is not None and seen.phase is Phase.GONE:
            self._engine.forget(replica_id)
            for known in (self._seen, self._specs, self._deaths):
                known.pop(replica_id, None)

    async def _export(self, connection: Connection, export: Export) -> Answer:
        def tell(words: str) -> None:
            connection.tell(Step(export.call, words))

        order = export.order
        path = await self._locate(order.model_id, Path(order.path))
        order = msgspec.structs.replace(order, path=str(path))
        facts = await self._engine.export(order, Place(self._node.name), tell)
        return Answer(export.call, facts=facts)

    async def _read_logs(self, call: int, folder: str, count: int) -> Answer:
        return Answer(call, logs=[*await self._engine.read_logs(folder, count)])

    async def _drain(self, connection: Connection, token: int, accepting: bool, device: str | None) -> None:
        self._check(connection, token)
        await self._engine.take_launches(self._node.name, accepting, device)
        for each in self._connections:
            self._tell_facts(each)

    # --- what servers are told ---

    def _look(self) -> None:
        """Tells what is new of the engine's replicas."""
        for replica_id, sighting in self._engine.sightings().items():
            if sighting is self._seen.get(replica_id) or replica_id not in self._specs:
                continue
            self._seen[replica_id] = sighting
            if isinstance(sighting.link, Link):
                self._links[replica_id] = sighting.link
            link = self._links.pop(replica_id, None) if sighting.phase is Phase.GONE else None
            if link is None:
                self._tell_all(self._describe(replica_id))
            else:
                self._start_task(self._tell_end(replica_id, link), f"end of {replica_id}")

    async def _tell_end(self, replica_id: str, link: Link) -> None:
        with suppress(KeyError):  # forgotten meanwhile
            if (death := await link.find_death(0.0)) is not None:
                self._deaths[replica_id] = death
            self._tell_all(self._describe(replica_id))

    def _describe(self, replica_id: str) -> Seen:
        condition = self._seen[replica_id].condition
        if self._tls is not None and condition.address is not None:
            condition = replace(condition, address=f"{self._address}/{replica_id}")
        return Seen(condition, self._specs[replica_id], self._deaths.get(replica_id))

    def _tell_all(self, message: ToServer) -> None:
        for connection in self._connections:
            connection.tell(message)

    def _tell_facts(self, connection: Connection) -> None:
        """Tells a server what the node has, if that is news to it."""
        (node,) = self._engine.nodes()
        facts = Facts(node.memory_bytes, [*node.devices], node.cores, node.accepting, self._engine.warm, self._machine)
        if facts != connection.facts:
            connection.facts = facts
            connection.tell(facts)

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends what comes from one as it comes to the other, no faster than that reads, until one has left."""
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()


def name_machine() -> str:
    """The kernel that runs, and the namespace of this process's ids in it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    running = boot.read_text(encoding="ascii").strip() if boot.exists() else socket.gethostname()
    namespace = Path("/proc/self/ns/pid")
    return f"{running} {os.readlink(namespace) if namespace.exists() else ''}"
