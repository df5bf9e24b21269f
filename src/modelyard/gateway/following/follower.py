"""A gateway's end of the connection to the process it follows: questions and their answers, and what it is told.

Where several servers share what is followed, another one may lead at any time: then it is followed anew. What was asked
and not answered is asked again, and who holds something says so first. Owns the numbers of questions and what is known
without asking. Loop thread only.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

import msgspec

from modelyard.accounts.aliases import Aliases
from modelyard.engine.doors import Door, open_connection
from modelyard.errors import NotFound, PaymentRequired, StoreUnavailable, Unavailable
from modelyard.gateway.following import frames
from modelyard.gateway.following.frames import Answer, GiveUp, Refused
from modelyard.media.artefacts import GONE, Piece
from modelyard.records.requests import RequestRecord
from modelyard.tls import LinkTls
from modelyard.wire import BrokenStream, FrameConnection

log = logging.getLogger(__name__)

A = TypeVar("A")
GATHER_S = 0.01
"""How long what a gateway has to tell of requests may wait for more of it. Whoever asks for it has it told at once."""
GREETING_S = 60.0
"""The process that is followed answers within milliseconds, on a machine that is busy with starting it all later."""
NO_LEADER_S = 10.0
"""How long a question waits while no server leads; another one does within three seconds."""
RETRY_S = 3.0


class Asked(Exception):
    """Carries a refusal whole to whoever asked, headers included."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


class LeaderGone(Exception):
    """The process that was asked is followed no more."""


class Follower:
    """One connection at a time, for as long as the gateway lives."""

    def __init__(self, aliases: Aliases, on_lost: Callable[[], None], *, others_may_lead: bool = False) -> None:
        """`aliases` is kept up to date; `on_lost`: called when the connection is gone. `others_may_lead`: who waits for
        an answer then goes on waiting for that of the next process that is followed."""
        self._loop = asyncio.get_running_loop()
        self._connection: FrameConnection | None = None
        self._aliases = aliases
        self._on_lost = on_lost
        self._others_may_lead = others_may_lead
        self._sure_until = 0.0 if others_may_lead else math.inf
        self._changed = asyncio.Event()
        self._has_greeted = False
        self._followed_before = 0
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._followed: asyncio.Future[None] = self._loop.create_future()
        self.doors: dict[str, Door] = {}
        """Of the replicas of which it was told, by id."""
        self.accounts = frames.Accounts({}, frozenset(), frozenset())
        self.ended: set[str] = set()
        """Addresses whose processes the server ends, for something that what they hold need not have caused."""
        self.on_sync: list[Callable[[], None]] = []
        """Called when what was asked before may have changed."""
        self.on_followed: list[Callable[[], None]] = []
        """Called when another process is followed: they tell it what they hold."""
        self.on_left: list[Callable[[], None]] = []
        """Called when the one before is followed no more."""
        self.on_telling: list[Callable[[], None]] = [self._tell_over]
        """Called when what has gathered is to be told."""
        self.on_telling_all: list[Callable[[], None]] = [self.tell_gathered]
        """Called when all there is to tell is to be told."""
        self.on_recall: Callable[[str, int, str], None] = recall_nothing
        """Called with a cluster's id when so many of the slots that are lent of it are to be given back, first those of
        the replica with the id that is given last."""
        self.on_gone: Callable[[str], None] = ignore_end
        """Called with the id of a replica that has ended."""
        self.write_records: Callable[[], Awaitable[None]] | None = None
        """Writes the records that this process writes itself; None: there are none."""
        self.read_file: Callable[[str, int], Piece] = read_nothing
        """Reads what follows at that byte of a file that a model has made; blocking. Raises NotFound."""
        self._records: tuple[str, dict[str, Any]] | None = None
        self._over = frames.Over([], [])
        self._telling: asyncio.TimerHandle | None = None
        self._tells_this_turn = False
        self._working: set[asyncio.Task[None]] = set()

    async def connect(self, address: str, secret: str, number: int, tls: LinkTls | None = None) -> None:
        """Greets the process at `unix:/path`, `tcp://host:port` or, with `tls`, `tls://host:port`; returns when all is
        known that has to be. Raises Unavailable."""
        self.leave()
        connection = FrameConnection(
            self._take, lambda fault: self._end(connection, fault), decode=frames.decode_to_gateway
        )
        self._followed = self._loop.create_future()
        try:
            async with asyncio.timeout(GREETING_S):
                await open_connection(address, connection, tls)
                self._connection = connection
                self.tell(frames.Follow(secret, number))
                for tell in self.on_followed:
                    tell()
                await self._followed
        except (TimeoutError, OSError) as error:
            why = str(error) or f"it has not answered within {GREETING_S:g} s"
            raise Unavailable(f"The server at {address} cannot be followed: {why}") from error
        finally:
            if not self._has_greeted:
                self.leave()
                connection.close()

    def leave(self) -> None:
        """Follows nobody from now on. What was asked waits for the next process that is followed, if there may be
        one."""
        connection, self._connection, self._has_greeted = self._connection, None, False
        self._followed_before += 1
        if connection is not None:
            connection.flush()
            connection.close()
        for note_left in self.on_left:
            note_left()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(LeaderGone() if self._others_may_lead else gone())

    async def close(self) -> None:
        """Ends the connection; whoever waits for an answer gets Unavailable. Idempotent."""
        self._on_lost = do_nothing
        self._others_may_lead = False
        self._tell_all()
        self.leave()
        self._note_change()

    # --- who is followed ---

    @property
    def follows(self) -> bool:
        """Whether a process is followed that leads, as far as this one knows."""
        return self._has_greeted and monotonic() < self._sure_until

    @property
    def can_tell(self) -> bool:
        """Whether there is anybody to tell."""
        return self._connection is not None

    def note_sure(self, until_s: float) -> None:
        """Who is followed leads, or nobody can say, until this monotonic time; then it has to be looked at again."""
        self._sure_until = until_s
        self._note_change()

    async def wait_followed(self) -> None:
        """Returns while a process is followed that leads. Raises Unavailable when there is none for long."""
        if self.follows:
            return
        try:
            async with asyncio.timeout(NO_LEADER_S):
                while not self.follows:
                    if not self._others_may_lead:
                        raise gone()
                    await self._changed.wait()
        except TimeoutError:
            words = "No server leads at this moment. Try again in a moment."
            raise Unavailable(words, cause="gateway", retry_after_s=RETRY_S) from None

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- what is said ---

    def tell(self, frame: msgspec.Struct) -> None:
        """Sends a frame soon, together with others of this turn of the loop; nowhere while nobody is followed."""
        if (connection := self._connection) is not None and connection.put(frame):
            self._loop.call_soon(connection.flush)

    def tell_soon(self) -> None:
        """Has what has gathered told, together with what comes next: frames of their own would take half as much again
        as a slot."""
        if self._telling is None:
            self._telling = self._loop.call_later(GATHER_S, self.tell_gathered)

    def tell_this_turn(self) -> None:
        """Has it told at the end of this turn of the loop: before anything is written for which the loop turns once
        more."""
        if not self._tells_this_turn:
            self._tells_this_turn = True
            self._loop.call_soon(self.tell_gathered)

    def tell_gathered(self) -> None:
        """Tells it now."""
        self._tells_this_turn = False
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        for tell in self.on_telling:
            tell()

    def _tell_all(self) -> None:
        """Tells all there is to tell."""
        for tell in self.on_telling_all:
            tell()

    def tell_settled(self, record: RequestRecord) -> None:
        """Tells what a request came to: at once where that changes a bill, or frees what was set aside."""
        self._over.records.append(record)
        if record.charged_nano or record.reserved_nano:
            self.tell_gathered()
        else:
            self.tell_soon()

    def tell_written(self, request_id: str) -> None:
        """Tells that a request is over, for which something was set aside, and whose record this process writes."""
        self._over.written.append(request_id)
        self.tell_gathered()

    def _tell_over(self) -> None:
        over = self._over
        if self.can_tell and (over.records or over.written):
            self._over = frames.Over([], [])
            self.tell(over)

    def next_number(self) -> int:
        """For a question."""
        return next(self._numbers)

    async def ask(self, number: int, question: msgspec.Struct, kind: type[A]) -> A:
        """The answer to a question, which has this number. Cancelled, it says so. Raises Asked, Unavailable."""
        while True:
            if not self.follows:
                await self.wait_followed()
            answered: asyncio.Future[Any] = self._loop.create_future()
            self._asked[number], followed_before = answered, self._followed_before
            self.tell(question)
            try:
                answer = await answered
                if not self.follows:  # this process was stopped meanwhile: does who has answered still lead?
                    await self.wait_followed()
            except LeaderGone:
                continue
            except (asyncio.CancelledError, Unavailable):
                self.tell(GiveUp(number))
                raise
            finally:
                self._asked.pop(number, None)
            if followed_before == self._followed_before:
                break
        if isinstance(answer, Refused):
            raise Asked(answer)
        if not isinstance(answer, kind):
            raise TypeError(f"got {type(answer).__name__} for {type(question).__name__}")
        return answer

    async def ask_plainly(self, number: int, question: msgspec.Struct, kind: type[A]) -> A:
        """The same, but raises what the question was refused with."""
        try:
            return await self.ask(number, question, kind)
        except Asked as error:
            raise error.refused.error() from None

    def check_records(self) -> None:
        """Raises StoreUnavailable when nothing new may begin."""
        if self._records is not None:
            message, data = self._records
            raise StoreUnavailable(message, **data)

    def check_funds(self, account_id: str) -> None:
        """Raises PaymentRequired when an account may begin nothing new."""
        if (refusal := self.accounts.refusals.get(account_id)) is not None:
            message, data = refusal
            raise PaymentRequired(message, **data)

    def _take(self, frame: frames.ToGateway) -> None:
        match frame:
            case (
                Refused(number)
                | frames.SlotGiven(number)
                | frames.Admitted(number)
                | frames.ModelFound(number)
                | frames.Agreed(number)
                | frames.KeyFound(number)
                | frames.DeathFound(number)
            ):
                self._answer(number, frame)
            case frames.Replica(replica_id, address, secret, adapter, ready_s):
                self.doors[replica_id] = Door(address, secret, adapter, monotonic() - ready_s)
            case frames.ReplicaGone(replica_id):
                self.on_gone(replica_id)
            case frames.Recall(cluster_id, count, replica_id):
                self.on_recall(cluster_id, count, replica_id)
            case frames.WasEnded(address):
                self.ended.add(address)
            case frames.Aliases(aliases):
                self._aliases.take(aliases)
            case frames.Accounts():
                self.accounts = frame
            case frames.Records(refusal):
                self._records = refusal
            case frames.Sync(number, forgets):
                for forget in self.on_sync if forgets else ():
                    forget()
                self._tell_all()
                if self.write_records is None:
                    self.tell(frames.Synced(number))
                else:
                    self._work(self._sync(number, self.write_records), "records are written")
            case frames.AskFile():
                self._work(self._tell_file(frame), "file for another server")
            case frames.Followed():
                self._has_greeted = True
                self.tell_gathered()
                self._note_change()
                if not self._followed.done():
                    self._followed.set_result(None)

    def _work(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _tell_file(self, asked: frames.AskFile) -> None:
        try:
            piece = await asyncio.to_thread(self.read_file, asked.name, asked.offset)
        except (NotFound, OSError):
            self.tell(frames.NoFile(asked.id))
        else:
            self.tell(frames.FilePiece(asked.id, piece.data, piece.size_bytes, piece.made_at))

    async def _sync(self, number: int, write_records: Callable[[], Awaitable[None]]) -> None:
        with suppress(StoreUnavailable):  # then nobody can know of them yet
            await write_records()
        self.tell(frames.Synced(number))

    def _answer(self, number: int, answer: Answer) -> None:
        asked = self._asked.get(number)
        if asked is not None and not asked.done():  # else it was given up, which is said by now
            asked.set_result(answer)

    def _end(self, connection: FrameConnection, fault: BrokenStream | None) -> None:
        if fault is not None:
            log.error("the connection to the server that is followed broke: %s", fault)
        if connection is not self._connection:
            return
        self.leave()
        if not self._followed.done():
            self._followed.set_exception(ConnectionError("it closed the connection"))
        self._on_lost()


def do_nothing() -> None:
    """For what ends on purpose."""


def read_nothing(name: str, offset: int) -> Piece:
    """Where files are in the folder of the process that is followed. Raises NotFound."""
    raise NotFound(GONE)


def recall_nothing(cluster_id: str, count: int, replica_id: str) -> None:
    """Where nobody keeps slots."""


def ignore_end(replica_id: str) -> None:
    """Where nobody sends requests to replicas."""


def gone() -> Unavailable:
    """The error for who asks while there is nobody to ask; every one needs its own."""
    return Unavailable("The server is restarting.", cause="gateway")


class Counts:
    """Requests under way by account, told to the process that is followed soon after they change."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._counts: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        follower.on_followed.append(self._tell_soon)

    def begin(self, account_id: str) -> None:
        """One more."""
        self._counts[account_id] = self._counts.get(account_id, 0) + 1
        self._tell_soon()

    def end(self, account_id: str) -> None:
        """One less."""
        self._counts[account_id] -= 1
        if not self._counts[account_id]:
            del self._counts[account_id]
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._follower.tell(frames.Report(dict(self._counts)))


TELL_S = 0.05
"""How old what is told of requests under way may be: nothing is decided by it but what is shown."""
