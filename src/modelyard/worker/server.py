"""The frame server inside a replica: requests in, chunks and answers out, state to whoever is connected.

Owns the connections and the mapping from request ids to running calls. Does not load or call the model: `boot` and
`batcher` do, on the model's thread.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from modelyard.errors import InferenceFailed, ModelyardError, Unauthorized
from modelyard.tasks import body
from modelyard.tasks.base import Task
from modelyard.wire import BrokenStream, Frame, Kind, encode, read_frame
from modelyard.worker.batcher import Batcher

log = logging.getLogger(__name__)

HELLO_DEADLINE_S = 5.0


class Phase(StrEnum):
    """What a worker says of itself."""

    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Connection:
    """One peer. Sends are thread-safe through `WorkerServer.call`; requests still running end with the connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.running: dict[int, RunningCall] = {}

    def send(self, frame: Frame) -> None:
        """Queues a frame; a peer that is gone is no error, its requests are cancelled elsewhere. Loop thread only."""
        if not self._writer.is_closing():
            self._writer.write(encode(frame))


class RunningCall:
    """A request between its arrival and its answer. `cancelled` is read by the model's thread."""

    __slots__ = ("is_cancelled",)

    def __init__(self) -> None:
        self.is_cancelled = False

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.is_cancelled


class WorkerServer:
    """Serves frames on a listening socket until `close`."""

    def __init__(self, task: Task, secret: str, on_configure: Callable[[Mapping[str, Any]], None]) -> None:
        """`on_configure` gets the body of CONFIGURE frames, on the loop's thread."""
        self._task = task
        self._secret = secret
        self._on_configure = on_configure
        self._loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._status: dict[str, Any] = {"phase": Phase.STARTING}
        self._batcher: Batcher | None = None
        self._server: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Starts accepting on `listener` (Unix or TCP, already bound)."""
        start = asyncio.start_unix_server if listener.family == socket.AF_UNIX else asyncio.start_server
        self._server = await start(self._serve, sock=listener)

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Runs `function` on the loop's thread soon; callable from any thread."""
        self._loop.call_soon_threadsafe(function, *args)

    def accept_calls(self, batcher: Batcher) -> None:
        """From now on requests go to `batcher`. Loop thread only."""
        self._batcher = batcher

    def report(self, **status: Any) -> None:
        """Tells every peer, present and future, the replica's state. Loop thread only."""
        self._status = status
        for connection in self._connections:
            connection.send(Frame(Kind.STATUS, 0, status))

    async def close(self) -> None:
        """Stops accepting and flushes what was sent."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            writer = connection._writer  # noqa: SLF001
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                log.debug("peer left before the last frame")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        try:
            if not await self._greet(reader, connection):
                return
            self._connections.add(connection)
            connection.send(Frame(Kind.STATUS, 0, self._status))
            while (frame := await read_frame(reader)) is not None:
                self._handle(connection, frame)
        except BrokenStream as error:
            log.warning("dropping a connection: %s", error)
        finally:
            self._connections.discard(connection)
            for call in connection.running.values():
                call.is_cancelled = True
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, connection: Connection) -> bool:
        """Whether the peer's first frame carries the secret."""
        try:
            frame = await asyncio.wait_for(read_frame(reader), HELLO_DEADLINE_S)
        except TimeoutError:
            frame = None
        known = (
            frame is not None
            and frame.kind is Kind.HELLO
            and isinstance(frame.body, str)
            and hmac.compare_digest(frame.body.encode(), self._secret.encode())
        )
        if known:
            connection.send(Frame(Kind.HELLO, 0))
        else:
            connection.send(Frame(Kind.ERROR, 0, Unauthorized("Wrong replica secret.").to_wire()))
        return known

    def _handle(self, connection: Connection, frame: Frame) -> None:
        match frame.kind:
            case Kind.REQUEST:
                self._start(connection, frame)
            case Kind.CANCEL:
                if call := connection.running.get(frame.id):
                    call.is_cancelled = True
            case Kind.PING:
                connection.send(Frame(Kind.PONG, frame.id))
            case Kind.CONFIGURE:
                self._on_configure(frame.body)
            case _:
                log.warning("unexpected frame %s", frame.kind.name)

    def _start(self, connection: Connection, frame: Frame) -> None:
        """Hands a request `{"fields", "params", "stream"}` to the batcher, or answers with the error that stops it."""
        running = RunningCall()

        def emit(text: str) -> None:
            self.call(connection.send, Frame(Kind.CHUNK, frame.id, text))

        def deliver(output: Any) -> None:
            self.call(self._finish, connection, frame.id, output)

        try:
            if self._batcher is None:
                raise InferenceFailed("The replica is not ready.")
            call = body.to_call(
                self._task,
                frame.body["fields"],
                frame.body["params"],
                emit=emit if frame.body.get("stream") else None,
                cancelled=running.cancelled,
            )
            connection.running[frame.id] = running
            self._batcher.submit(call, deliver)
        except ModelyardError as error:
            self._finish(connection, frame.id, error)

    def _finish(self, connection: Connection, request_id: int, output: Any) -> None:
        connection.running.pop(request_id, None)
        if isinstance(output, ModelyardError):
            connection.send(Frame(Kind.ERROR, request_id, output.to_wire()))
        else:
            connection.send(Frame(Kind.DONE, request_id, {"output": output}))
