"""The frame server inside a replica: requests in, chunks and answers out, state to whoever is connected.

Owns the connections and the mapping from request ids to running calls. Does not load or call the model: its life
does, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections import deque
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from modelyard.errors import InferenceFailed, ModelyardError, ReplicaLost, Unauthorized
from modelyard.protocol import (
    AdapterPiece,
    Cancel,
    Chunk,
    Configure,
    Credit,
    Done,
    Failure,
    Frame,
    Hello,
    LoadAdapter,
    Logged,
    Outcome,
    Ping,
    Pong,
    Request,
    Starting,
    Status,
    StatusUpdate,
    UnloadAdapter,
    Work,
    WorkUpdate,
)
from modelyard.wire import MAX_FRAME_BYTES, MAX_GREETING_BYTES, BrokenStream, FrameConnection, Unsendable, WrongFrame
from modelyard.worker.adapters import Adapters, Load, load_no_adapter
from modelyard.worker.calls import CallTimes, LoopCalls, RunningCall, submit_call
from modelyard.worker.log_lines import work_on
from modelyard.worker.pieces import PieceWindow
from modelyard.worker.schedulers.base import Deliver, Scheduler, do_nothing

log = logging.getLogger(__name__)

HELLO_DEADLINE_S = 5.0
LAST_READ_S = 5.0
"""How long a peer may take to read what it was sent before the connection closed."""
TELL_WORK_S = 1.0
"""How long after an answer, at most, peers are told what was done so far."""
MOST_KEPT_LINES = 100
"""Of the log, the latest, for a peer that wants them and has not come yet."""


class Connection:
    """One peer, and its requests that still run: they end with it. Loop thread only."""

    def __init__(self, take: Callable[[Connection, Frame], None], ended: Callable[[Connection], None]) -> None:
        """`take` gets each frame; `ended` is called once, when no more will come."""
        self.frames = FrameConnection(partial(take, self), self._end, max_bytes=MAX_GREETING_BYTES)
        self._ended = ended
        self.running: dict[int, RunningCall] = {}
        self.windows: dict[int, PieceWindow] = {}
        self.greeted = False
        self.wants_lines = False
        self._closing = False
        self._left = asyncio.Event()

    def send(self, frame: Frame) -> None:
        """Queues a frame, which leaves with the next `flush`; a peer that is gone is no error, its requests are
        cancelled elsewhere. Raises Unsendable."""
        if not self._closing and not self._left.is_set():
            self.frames.put(frame)

    def flush(self) -> None:
        """Sends what was queued, all at once."""
        self.frames.flush()

    async def close(self) -> None:
        """Flushes what was sent, and closes once the peer has read it: asyncio gives a peer that writes to a closed
        connection nothing more of what it had not read by then."""
        self.flush()
        self._closing = True
        if self.greeted and not self._left.is_set():
            self.frames.write_eof()
            try:
                async with asyncio.timeout(LAST_READ_S):
                    await self._left.wait()
            except TimeoutError:
                log.warning("the peer has not read the last frames")
        self.frames.close()

    def refuse(self) -> None:
        """Tells a peer that it has not shown the secret, and closes."""
        self.send(Failure.of(0, Unauthorized("Wrong replica secret.")))
        self._leave()

    def abort(self) -> None:
        """Breaks the connection; what was not sent yet is lost."""
        self.frames.abort()

    def _end(self, fault: BrokenStream | None) -> None:
        """The peer has left, or broke the rules."""
        if fault is not None:
            log.warning("dropping a connection: %s", fault)
        if isinstance(fault, WrongFrame) and not self.greeted:
            self.refuse()
        else:
            self._leave()

    def _leave(self) -> None:
        if not self._left.is_set():
            self._ended(self)
            self.flush()
            self._left.set()
            self.frames.close()


class WorkerServer:
    """Serves frames on a listening socket until `close`."""

    def __init__(
        self,
        secret: str,
        on_configure: Callable[[Configure], None],
        *,
        on_answer: Callable[[], None] = do_nothing,
        load_adapter: Load = load_no_adapter,
        hello_deadline_s: float = HELLO_DEADLINE_S,
    ) -> None:
        """`on_configure` gets new settings, `on_answer` is called after each answer, `load_adapter` loads one
        whose files have come; loop thread."""
        self._secret = secret
        self._on_configure = on_configure
        self._on_answer = on_answer
        self._hello_deadline_s = hello_deadline_s
        self._adapters = Adapters(load_adapter)
        self._loop = asyncio.get_running_loop()
        self._calls = LoopCalls(self._loop, after=self._flush)
        self._connections: set[Connection] = set()
        self._kept_lines: deque[Logged] = deque(maxlen=MOST_KEPT_LINES)
        self._greeted = asyncio.Event()
        self._status: Status = Starting()
        self._scheduler: Scheduler | None = None
        self._told_work: Work | None = None
        self._telling_work: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Starts accepting on `listener` (Unix or TCP, already bound)."""
        loop = asyncio.get_running_loop()
        if listener.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(self._connect, sock=listener)
        else:
            self._server = await loop.create_server(self._connect, sock=listener)

    def accept_calls(self, scheduler: Scheduler) -> None:
        """From now on requests go to `scheduler`. Idempotent. Loop thread only."""
        if self._scheduler is None:
            self._told_work = scheduler.describe_work()
        self._scheduler = scheduler

    def report(self, status: Status) -> None:
        """Tells every peer, present and future, the replica's state. Loop thread only."""
        self._status = status
        self._tell_all(StatusUpdate(status))

    def tell_line(self, line: Logged, call: object | None) -> None:
        """Sends a line of the log, soon, to one peer that wants lines: to the one whose request it is about, if it is
        about one. `call`: which that is, see `work_on`. Of any thread."""
        self._calls.put(self._send_line, line, call)

    def _send_line(self, line: Logged, call: tuple[Connection, int] | None) -> None:
        if call is not None:
            connection, request_id = call
            connection.send(replace(line, id=request_id))
            return
        self._kept_lines.append(line)
        self._send_kept_lines()

    def _send_kept_lines(self) -> None:
        listener = next((each for each in self._connections if each.wants_lines), None)
        while listener is not None and self._kept_lines:
            listener.send(self._kept_lines.popleft())

    def _tell_all(self, frame: StatusUpdate | WorkUpdate) -> None:
        for connection in self._connections:
            if connection.greeted:
                connection.send(frame)
        self._flush()

    def _flush(self) -> None:
        for connection in self._connections:
            connection.flush()

    async def wait_greeted(self, deadline_s: float) -> None:
        """Returns when a peer that is still there has been told the state, or after `deadline_s`."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._greeted.wait()
        except TimeoutError:
            log.warning("nobody has asked for this replica's state")

    def abort(self) -> None:
        """Stops accepting and breaks every connection at once, as the death of the process would."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()

    async def close(self) -> None:
        """Stops accepting and flushes what was sent, also from other threads before this."""
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(0)
        self._tell_work()
        await asyncio.gather(*(connection.close() for connection in list(self._connections)))

    def _connect(self) -> FrameConnection:
        connection = Connection(self._take_greeting, self._drop)
        self._connections.add(connection)
        asyncio.get_running_loop().call_later(self._hello_deadline_s, self._expect_greeting, connection)
        return connection.frames

    def _expect_greeting(self, connection: Connection) -> None:
        if not connection.greeted:
            connection.refuse()  # nothing happens where it has left meanwhile

    def _drop(self, connection: Connection) -> None:
        """Takes leave of a peer."""
        self._connections.discard(connection)
        if not any(each.greeted for each in self._connections):
            self._greeted.clear()
        for call in connection.running.values():
            call.is_cancelled = True
        self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        if self._scheduler is not None:
            self._scheduler.drop_cancelled()

    def _take_greeting(self, connection: Connection, frame: Frame) -> None:
        """The peer's first frame, which must carry the secret; one that does not is told."""
        if not isinstance(frame, Hello) or not hmac.compare_digest(frame.secret.encode(), self._secret.encode()):
            connection.refuse()
            return
        connection.frames.take = partial(self._take, connection)
        connection.frames.max_bytes = MAX_FRAME_BYTES
        connection.send(Hello())
        connection.send(StatusUpdate(self._status))
        connection.wants_lines = frame.wants_lines
        self._send_kept_lines()
        connection.flush()
        connection.greeted = True
        self._greeted.set()

    def _take(self, connection: Connection, frame: Frame) -> None:
        self._handle(connection, frame)
        connection.flush()

    def _handle(self, connection: Connection, frame: Frame) -> None:
        match frame:
            case Request(request_id) if request_id not in connection.running:
                self._start(connection, frame)
            case Cancel(request_id):
                if call := connection.running.get(request_id):
                    call.is_cancelled = True
                    self._drop_cancelled()
                if window := connection.windows.get(request_id):
                    window.give_up()
            case Credit(request_id, weight):
                if window := connection.windows.get(request_id):
                    window.widen(weight)
            case Ping(request_id):
                self._tell_work()
                connection.send(Pong(request_id))
            case Configure():
                self._on_configure(frame)
            case AdapterPiece():
                self._adapters.take_piece(frame)
            case LoadAdapter(request_id, adapter):
                self._adapters.load(adapter, partial(self._finish_now, connection, request_id))
            case UnloadAdapter(adapter):
                self._adapters.unload(adapter)
            case _:
                raise BrokenStream(f"a {type(frame).__name__} frame that makes no sense here")

    def _start(self, connection: Connection, request: Request) -> None:
        """Hands a request to the scheduler, or answers with the error that stops it."""
        about = (connection, request.id) if connection.wants_lines else None
        try:
            connection.running[request.id] = work_on(about, self._submit, connection, request)
        except ModelyardError as error:
            self._finish(connection, request.id, error)

    def _submit(self, connection: Connection, request: Request) -> RunningCall:
        """Hands a request to the scheduler. Raises ModelyardError."""
        if self._scheduler is None:
            raise ReplicaLost("The replica is not ready.")
        finish: Deliver = partial(self._finish, connection, request.id)
        emit: Callable[[str], None] | None = None
        reading: Callable[[int], None] | None = None
        if request.stream:
            pieces = Pieces(connection, request.id)
            window = connection.windows[request.id] = PieceWindow(pieces.send)
            emit, reading = partial(self._calls.put, window.add), pieces.note_read
            finish = partial(finish_after_pieces, window, finish)
        return submit_call(
            self._scheduler,
            request.fields,
            request.params,
            emit=emit,
            deliver=partial(self._calls.put, finish),
            request_id=request.id,
            adapted=self._adapters.find(request.adapter),
            reading=reading,
            times=CallTimes() if request.timed else None,
        )

    def _finish_now(self, connection: Connection, request_id: int, answer: Outcome | ModelyardError) -> None:
        """The same for what was not asked of the scheduler."""
        self._finish(connection, request_id, answer)
        connection.flush()

    def _finish(self, connection: Connection, request_id: int, answer: Outcome | ModelyardError) -> None:
        connection.running.pop(request_id, None)
        connection.windows.pop(request_id, None)
        try:
            if isinstance(answer, ModelyardError):
                connection.send(Failure.of(request_id, answer))
            else:
                connection.send(Done(request_id, answer))
        except Unsendable as error:
            log.error("an answer %s", error)  # noqa: TRY400 - the trace says nothing
            message = answer.message if isinstance(answer, ModelyardError) else f"The answer {error}."
            connection.send(Failure.of(request_id, InferenceFailed(message)))
        self._on_answer()
        if self._telling_work is None:
            self._telling_work = self._loop.call_later(TELL_WORK_S, self._tell_work)

    def _tell_work(self) -> None:
        """Tells every peer what was done so far, if that is news."""
        if self._telling_work is not None:
            self._telling_work.cancel()
            self._telling_work = None
        work = None if self._scheduler is None else self._scheduler.describe_work()
        if work is not None and work != self._told_work:
            self._told_work = work
            self._tell_all(WorkUpdate(work))


class Pieces:
    """The pieces of one streamed request as frames."""

    __slots__ = ("_connection", "_id", "_prompt_tokens")

    def __init__(self, connection: Connection, request_id: int) -> None:
        self._connection = connection
        self._id = request_id
        self._prompt_tokens: int | None = None

    def note_read(self, prompt_tokens: int) -> None:
        """What the next piece tells, which is the first. On the model's thread, before that is made."""
        self._prompt_tokens = prompt_tokens

    def send(self, text: str) -> None:
        """Sends a piece."""
        tokens, self._prompt_tokens = self._prompt_tokens, None
        self._connection.send(Chunk.of(self._id, text, tokens))


def finish_after_pieces(window: PieceWindow, finish: Deliver, answer: Outcome | ModelyardError) -> None:
    """Ends a streamed request once its pieces were sent."""
    window.finish(partial(finish, answer))
