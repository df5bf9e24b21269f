"""One connection to one replica, shared by every request to it.

Owns the request ids and who waits for which; knows nothing of HTTP, clusters or retries.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, Self

from modelyard.engine.doors import Door, open_connection
from modelyard.engine.replica_log import ReplicaLog
from modelyard.engine.status_rate import StatusRate
from modelyard.errors import InvalidRequest, ReplicaLost
from modelyard.protocol import (
    NO_WORK,
    PIECE_WEIGHT,
    WINDOW,
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
    Status,
    StatusUpdate,
    UnloadAdapter,
    Work,
    WorkUpdate,
    weight_of,
)
from modelyard.records.deaths import Death
from modelyard.telemetry.log_lines import RequestLabels
from modelyard.tls import LinkTls
from modelyard.wire import MAX_ANSWER_BYTES, MAX_GREETING_BYTES, BrokenStream, EndedInFrame, FrameConnection, Unsendable

log = logging.getLogger(__name__)

CONNECT_DEADLINE_S = 10.0
PIECE_DEADLINE_S = 60.0
"""How long a worker may take to keep a piece of an adapter's file."""
MOST_STRAYS = WINDOW // PIECE_WEIGHT + 1
"""Frames of a request that can be under way when it is given up: a window of the lightest pieces, and its end."""

OnStatus = Callable[[Status], None]
OnPiece = Callable[[str], Awaitable[None]]


class OnFinished(Protocol):
    """Called when a replica has ended a request; `answered`: by an outcome, not an error. See Exchange."""

    def __call__(self, *, answered: bool = False) -> bool: ...


class Exchange:
    """One request on a link: its pieces as they come, then its outcome. `on_finished`: called when the replica has
    ended it; whether another one takes its place there. Then whoever waits for the outcome goes on a turn of the loop
    later: the other one is on its way before this answer is written, and the model does not wait for that.

    Either `run` it, or go through its pieces (`async for`) and look at `outcome` after the last; whoever does the
    latter must `cancel` when it stops before.
    """

    __slots__ = (
        "_arrived", "_frames", "_link", "_taken", "_unread", "adapter", "cancelled", "finished", "id", "labels",
        "on_finished", "outcome", "prompt_tokens",
    )  # fmt: skip

    def __init__(self, link: Link, request_id: int, adapter: str = "") -> None:
        """`adapter`: whose answer it is; empty: the model's own."""
        self.adapter = adapter
        self._link = link
        self._frames: deque[Chunk | Done | Failure | None] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._unread = 0
        self._taken = 0
        self.id = request_id
        self.cancelled = False
        self.finished = False
        self.outcome: Outcome | None = None
        self.labels: RequestLabels | None = None
        """By which lines of the replica's log about it are found."""
        self.on_finished: OnFinished | None = None
        self.prompt_tokens: int | None = None
        """What the model has read, once a piece has told it."""

    async def run(self, on_piece: OnPiece | None = None) -> Outcome:
        """The outcome; pieces go to `on_piece` as they come. Cancelling it, or an error of `on_piece`, cancels the
        request. Raises what going through the pieces does."""
        try:
            while (piece := await self._next_piece()) is not None:
                if on_piece is not None:
                    await on_piece(piece)
        finally:
            if not self.finished:
                self.cancel()
        assert self.outcome is not None  # noqa: S101 - the pieces have ended
        return self.outcome

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """The next piece. Raises the replica's own error, or ReplicaLost when the connection broke."""
        if (piece := await self._next_piece()) is None:
            raise StopAsyncIteration
        return piece

    async def _next_piece(self) -> str | None:
        """The same; None after the last one."""
        if not (self._frames or self.finished):
            await self._next_frame()
        frame = None if self.finished else self._frames.popleft()
        if isinstance(frame, Chunk):
            if frame.prompt_tokens is not None:
                self.prompt_tokens = frame.prompt_tokens
            weight = weight_of(frame.text)
            self._unread -= weight
            self._taken += weight
            if self._taken >= WINDOW // 2:
                self._link.credit(self, self._taken)
                self._taken = 0
            return frame.piece
        self.finished = True
        if isinstance(frame, Failure):
            raise frame.error()
        if isinstance(frame, Done):
            self.outcome = frame.outcome
        if self.outcome is None:
            raise ReplicaLost()
        return None

    def cancel(self) -> None:
        """Tells the replica that nobody waits any more. Harmless after the end."""
        self._link.abandon(self)

    async def wait_finished(self) -> None:
        """Returns when the replica has ended the request, whatever came of it, or is gone. For who has cancelled it."""
        while not self.finished:
            if not self._frames:
                await self._next_frame()
            self.finished = not isinstance(self._frames.popleft(), Chunk)

    def feed(self, frame: Chunk | Done | Failure | None) -> None:
        """Hands over a frame that arrived; None: the connection is gone. Raises BrokenStream when more pieces have come
        than the window lets through."""
        if isinstance(frame, Chunk):
            self._unread += weight_of(frame.text)
            if self._unread > WINDOW:
                raise BrokenStream("more pieces of an answer than its window lets through")
        self._frames.append(frame)
        has_ended = isinstance(frame, Done | Failure)
        if has_ended and self.on_finished is not None and self.on_finished(answered=isinstance(frame, Done)):
            asyncio.get_running_loop().call_soon(self._tell_arrived)
        else:
            self._tell_arrived()

    def _tell_arrived(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _next_frame(self) -> asyncio.Future[None]:
        """Done when the next frame is here. For one task at a time."""
        self._arrived = asyncio.get_running_loop().create_future()
        return self._arrived


class ReplicaLink(ABC):
    """Where requests to one replica go. `work`: what its worker has told of what it has done; nothing of an adapter,
    which shares a worker. `door`: None where no other process can connect."""

    work: Work = NO_WORK
    door: Door | None = None

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether it takes no requests any more."""

    @abstractmethod
    def request(self, fields: dict[str, Any], params: dict[str, Any], *, stream: bool, timed: bool = False) -> Exchange:
        """Sends a request. `timed`: see protocol.Request.

        Raises: ReplicaLost when it is closed: the request has not started; InvalidRequest when it holds something that
        cannot be sent, e.g. an integer of more than 64 bits.
        """

    @abstractmethod
    async def find_death(self, timeout_s: float) -> Death | None:
        """How the process ended; None when nobody has said so within `timeout_s`."""


class Link(ReplicaLink):
    """A greeted connection. Requests, cancels and pings may be sent at any time from the loop's thread."""

    def __init__(self, on_status: OnStatus, turn: asyncio.Lock, on_use: Callable[[], None], replica_id: str) -> None:
        """For `connect`, which greets as well."""
        self._loop = asyncio.get_running_loop()
        self._connection = FrameConnection(self._take_greeting, self._end, max_bytes=MAX_GREETING_BYTES, turn=turn)
        self._on_status = on_status
        self._on_use = on_use
        self._ids = itertools.count(1)
        self._exchanges: dict[int, Exchange] = {}
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._statuses = StatusRate()
        self._log = ReplicaLog(replica_id)
        self._strays_left = MOST_STRAYS
        self._closed = False
        self._greeted: asyncio.Future[bool] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._death: asyncio.Future[Death] = self._loop.create_future()
        self.fault: str | None = None
        """What the worker sent that it must not, when the connection was closed for it."""

    @classmethod
    async def connect(
        cls,
        address: str,
        secret: str,
        on_status: OnStatus,
        deadline_s: float = CONNECT_DEADLINE_S,
        turn: asyncio.Lock | None = None,
        on_use: Callable[[], None] = lambda: None,
        tls: LinkTls | None = None,
        replica_id: str = "",
    ) -> Link:
        """Connects to an address, see `open_connection`, and greets. `on_status` is told every status. `turn`: shared
        by links of which only one is to read a large frame at a time. `on_use`: called when a request begins while
        there is none on this link, and when the worker tells of work, which may have come by another. `tls`: what is
        shown where the address wants it. `replica_id`: whose log is passed on, where it is wanted; empty: nobody's.

        Raises: ReplicaLost when nobody answers there within `deadline_s`, or the secret is refused.
        """
        link = cls(on_status, turn or asyncio.Lock(), on_use, replica_id)
        greeted = False
        try:
            async with asyncio.timeout(deadline_s):
                await open_connection(address, link._connection, tls)
                link._send(Hello(secret, link._log.is_wanted))
                greeted = await link._greeted
        except TimeoutError:
            raise ReplicaLost(f"The replica at {address} did not answer within {deadline_s:.0f} s.") from None
        except OSError as error:
            raise ReplicaLost(f"Cannot connect to the replica at {address}: {error}") from error
        finally:
            if not greeted:
                link._connection.close()
        if not greeted:
            why = f": {link.fault}" if link.fault else "."
            raise ReplicaLost(f"The replica at {address} refused the connection{why}")
        link.door = Door(address, secret)
        link._loop.call_soon(link._connection.go_on, link._dispatch)  # when whoever connects has the link
        return link

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._closed

    @property
    def is_used(self) -> bool:
        """Whether a request is under way on it."""
        return bool(self._exchanges)

    def request(
        self, fields: dict[str, Any], params: dict[str, Any], *, stream: bool, timed: bool = False, adapter: str = ""
    ) -> Exchange:
        """See ReplicaLink. `adapter`: the one beside the worker's model that is to answer; empty: the model itself."""
        if self._closed:
            raise ReplicaLost()
        exchange = Exchange(self, next(self._ids), adapter)
        exchange.labels = self._log.labels()
        try:
            self._send(Request(exchange.id, fields, params, stream, adapter, timed))
        except Unsendable as error:
            raise InvalidRequest(f"The request {error}.", field="body") from error
        if not self._exchanges:
            self._on_use()
        self._exchanges[exchange.id] = exchange
        return exchange

    def abandon(self, exchange: Exchange) -> None:
        """Cancels an exchange's work; the replica still says when it has ended it."""
        if exchange.id in self._exchanges and not exchange.cancelled:
            exchange.cancelled = True
            self._strays_left += MOST_STRAYS  # what is under way of it already
            self._send(Cancel(exchange.id))

    def credit(self, exchange: Exchange, weight: int) -> None:
        """Lets so much more of an exchange's answer come, unless all of it is here."""
        if exchange.id in self._exchanges:
            self._send(Credit(exchange.id, weight))

    async def send_adapter_piece(self, adapter: str, file: str, data: bytes) -> None:
        """Sends what comes next of a file of an adapter; returns when the worker has taken it. Raises ReplicaLost."""
        self._send(AdapterPiece(adapter, file, data))
        if not await self.ping(PIECE_DEADLINE_S):  # which it answers in its turn
            raise ReplicaLost()

    def load_adapter(self, adapter: str) -> Exchange:
        """Has the worker put an adapter beside its model, all of whose files were sent. Raises ReplicaLost."""
        if self._closed:
            raise ReplicaLost()
        exchange = Exchange(self, next(self._ids), adapter)
        self._exchanges[exchange.id] = exchange
        self._send(LoadAdapter(exchange.id, adapter))
        return exchange

    def unload_adapter(self, adapter: str) -> None:
        """Has the worker take an adapter away; who still waits for its answer gets ReplicaLost. Idempotent."""
        for exchange in [each for each in self._exchanges.values() if each.adapter == adapter]:
            self.abandon(exchange)
            self._strays_left += 1  # its end
            self._exchanges.pop(exchange.id).feed(None)
        self._send(UnloadAdapter(adapter))

    def configure(self, settings: Configure) -> None:
        """Sends the worker new settings."""
        self._send(settings)

    async def ping(self, deadline_s: float) -> bool:
        """Whether the worker's loop answers within `deadline_s`. A link that closes meanwhile answers at once: no."""
        if self._closed:
            return False
        request_id = next(self._ids)
        answered: asyncio.Future[None] = self._loop.create_future()
        self._pings[request_id] = answered
        self._strays_left += 1  # it may come too late
        self._send(Ping(request_id))
        try:
            async with asyncio.timeout(deadline_s):
                await answered
        except TimeoutError:
            return False
        finally:
            self._pings.pop(request_id, None)
        return not self._closed

    async def wait_closed(self, timeout_s: float) -> bool:
        """Waits until the connection is gone, at most `timeout_s`; returns whether it is."""
        await asyncio.wait({self._ended}, timeout=timeout_s)
        return self._closed

    def note_death(self, death: Death) -> None:
        """Notes how the process behind it ended, for those who had requests on it. The first note stands."""
        if not self._death.done():
            self._death.set_result(death)

    async def find_death(self, timeout_s: float) -> Death | None:
        """How the process ended; None when nobody has said so within `timeout_s`."""
        done, _ = await asyncio.wait({self._death}, timeout=timeout_s)
        return done.pop().result() if done else None

    async def close(self) -> None:
        """Closes the connection; what still waits on it gets ReplicaLost. Idempotent."""
        self._end(None)
        await self._connection.wait_gone()

    def abort(self) -> None:
        """The same at once, of a worker that is gone: it reads nothing any more."""
        self._end(None)
        self._connection.abort()

    def _send(self, frame: Frame) -> None:
        """Sends a frame soon, together with others of this turn of the loop. Raises Unsendable."""
        if not self._closed and self._connection.put(frame):
            self._loop.call_soon(self._connection.flush)

    def _end(self, fault: BrokenStream | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._on_status, self._on_use = lambda status: None, lambda: None  # who is told holds this link, too
        self.fault = None if fault is None or isinstance(fault, EndedInFrame) else str(fault)
        self._connection.close()
        for exchange in self._exchanges.values():  # whoever waits is told
            exchange.feed(None)
        self._exchanges.clear()
        for answered in self._pings.values():
            if not answered.done():
                answered.set_result(None)
        if not self._greeted.done():
            self._greeted.set_result(False)
        self._ended.set_result(None)

    def _take_greeting(self, frame: Frame) -> None:
        is_greeting = isinstance(frame, Hello)
        self._connection.hold()
        self._connection.max_bytes = MAX_ANSWER_BYTES
        self._greeted.set_result(is_greeting)
        if not is_greeting:
            self._end(None)

    def _dispatch(self, frame: Frame) -> None:
        match frame:
            case Chunk(request_id):
                exchange = self._exchanges.get(request_id)
                if exchange is not None and not exchange.cancelled:
                    exchange.feed(frame)
                else:
                    self._note_stray()
            case Done(request_id) | Failure(request_id):
                if exchange := self._exchanges.pop(request_id, None):
                    exchange.feed(frame)
                else:
                    self._note_stray()
            case StatusUpdate(status):
                self._statuses.take()
                self._on_status(status)
            case WorkUpdate(work):
                self._statuses.take()
                self.work = work
                self._on_use()
            case Logged(request_id):
                about = self._exchanges.get(request_id)
                self._log.take(frame, None if about is None else about.labels)
            case Pong(request_id):
                answered = self._pings.get(request_id)
                if answered is not None and not answered.done():
                    answered.set_result(None)
                else:
                    self._note_stray()
            case _:
                raise BrokenStream(f"a {type(frame).__name__} frame that makes no sense here")

    def _note_stray(self) -> None:
        """Counts a frame that nobody waits for. Raises BrokenStream when more come than can have been under way."""
        self._strays_left -= 1
        if self._strays_left < 0:
            raise BrokenStream("frames that nobody waits for, one after the other")
