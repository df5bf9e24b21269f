"""One gateway, as the process that it follows holds it: what it has been given, and what it waits for.

When its connection ends, whatever the reason, all that is given back: slots, admissions, and what was set aside, unless
it comes back for that in time.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from modelyard.control.routes import Route
from modelyard.control.targets import Target
from modelyard.engine.link import ReplicaLink
from modelyard.errors import LeaseLost, ModelyardError, ReplicaLost
from modelyard.gateway.following import frames
from modelyard.gateway.following.frames import Refused
from modelyard.gateway.following.loans import Loans
from modelyard.records.requests import RequestRecord
from modelyard.wire import MAX_GREETING_BYTES, BrokenStream, FrameConnection

if TYPE_CHECKING:
    from modelyard.gateway.following.leader import Authority, Leader

log = logging.getLogger(__name__)

FRAME_BYTES = 16 * 1024**2
"""The largest frame that a gateway sends: a question, a record."""
HELD_BACK = 0
"""In place of a question's number: no gateway gives one this."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request of the gateway in a cluster's queue."""

    route: Route
    waiter: asyncio.Future[Target]


class Session:
    """See the module. `number`: which gateway it is. Loop thread only."""

    def __init__(self, authority: Authority, secret: str, leader: Leader) -> None:
        self.connection = FrameConnection(
            self._take_greeting, self._end, max_bytes=MAX_GREETING_BYTES, decode=frames.decode_from_gateway
        )
        self.number = -1
        self._authority = authority
        self._secret = secret
        self._leader = leader
        self._loop = asyncio.get_running_loop()
        self._ended = False
        self._slots: dict[int, tuple[Route, Target]] = {}
        self.loans = Loans()
        self._waiting: dict[int, Waiting] = {}
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._admitted: dict[int, str] = {}
        self._reserved: dict[str, RequestRecord] = {}
        self._known: dict[str, ReplicaLink] = {}
        self._syncs: dict[int, asyncio.Future[None]] = {}
        self._files: dict[int, asyncio.Future[frames.FilePiece | None]] = {}
        self._file_numbers = itertools.count(1)

    @property
    def reserved(self) -> Collection[str]:
        """The ids of its requests for which something is set aside."""
        return self._reserved.keys()

    def tell(self, frame: msgspec.Struct) -> None:
        """Sends a frame soon, together with others of this turn of the loop."""
        if not self._ended and self.connection.put(frame):
            self._loop.call_soon(self.connection.flush)

    def sync(self, number: int, *, forgets: bool) -> asyncio.Future[None]:
        """Done when the gateway knows what it was told before, and has told all it had to, or is gone."""
        synced = self._syncs[number] = self._loop.create_future()
        self.tell(frames.Sync(number, forgets))
        return synced

    def recall(self, cluster_id: str, most: int, replica_id: str) -> int:
        """Has it give back so many of them when free, or all, first those of that replica; how many that is."""
        if count := self.loans.recall(cluster_id, most):
            self.tell(frames.Recall(cluster_id, count, replica_id))
        return count

    def note_gone(self, replica_id: str) -> None:
        """A replica has ended: should the gateway know it, it is told."""
        if self._known.pop(replica_id, None) is not None:
            self.tell(frames.ReplicaGone(replica_id))

    async def ask_file(self, name: str, offset: int) -> frames.FilePiece | None:
        """What follows at that byte of a file that is on the gateway's machine; None: there is none, or it is gone."""
        number = next(self._file_numbers)
        found: asyncio.Future[frames.FilePiece | None] = self._loop.create_future()
        self._files[number] = found
        self.tell(frames.AskFile(number, name, offset))
        if self._ended:
            self._note_file(number, None)
        try:
            return await found
        finally:
            self._files.pop(number, None)

    def _note_file(self, number: int, piece: frames.FilePiece | None) -> None:
        if (found := self._files.get(number)) is not None and not found.done():
            found.set_result(piece)

    @property
    def is_late(self) -> bool:
        """Whether somebody has waited in vain for what it was asked: it is stopped, or stuck."""
        return any(synced.done() for synced in self._syncs.values())

    def end(self) -> None:
        """Leaves the gateway."""
        self.connection.close()
        self._end(None)

    # --- its frames ---

    def _take_greeting(self, frame: frames.FromGateway) -> None:
        if not isinstance(frame, frames.Follow) or not hmac.compare_digest(
            frame.secret.encode(), self._secret.encode()
        ):
            log.warning("a connection that showed no secret was closed")
            return self.end()
        self.number = frame.number
        self.connection.take, self.connection.max_bytes = self._take, FRAME_BYTES
        return self._leader.greet(self)

    def _take(self, frame: frames.FromGateway) -> None:
        if self._authority.leads():
            self._take_one(frame)
        else:
            self._hold_back(frame)

    def _take_one(self, frame: frames.FromGateway) -> None:
        match frame:
            case frames.AskSlot():
                self._ask_slot(frame)
            case frames.Released(number, answered):
                self._release(number, answered=answered)
            case frames.Kept():
                self._note_kept(frame)
            case frames.Over():
                self._take_over(frame)
            case frames.AskAdmission():
                self._admit(frame)
            case frames.Left(number):
                self._leave(number)
            case frames.GiveUp(number):
                self._give_up(number)
            case frames.Lost(number):
                if number in self._slots:
                    self._authority.routes.lose(*self._slots[number])
            case _:
                self._take_seldom(frame)

    def _take_seldom(self, frame: frames.FromGateway) -> None:
        match frame:
            case frames.AskKey():
                self._begin(frame.id, self._find_key(frame))
            case frames.AskModel():
                self._begin(frame.id, self._find_model(frame))
            case frames.AskCluster():
                self._begin(frame.id, self._find_cluster(frame))
            case frames.AskReserve():
                self._reserve(frame)
            case frames.AskDeath():
                self._begin(frame.id, self._find_death(frame))
            case frames.EndStuck():
                known = self._known.get(frame.replica_id)
                door = None if known is None else known.door
                self._leader.end_stuck(frame, "" if door is None else door.address)
            case frames.Counted(models, clusters):
                self._authority.tallies.add(models, clusters)
            case frames.Report(under_way):
                self._authority.quotas.take_report(self, under_way)
            case frames.Synced(number):
                self._note_synced(number)
            case frames.FilePiece(number):
                self._note_file(number, frame)
            case frames.NoFile(number):
                self._note_file(number, None)
            case frames.HoldsSlot():
                self._take_slot(frame)
            case frames.HoldsAdmission(number, account_id):
                self._authority.quotas.count(account_id)
                self._admitted[number] = account_id
            case frames.HoldsReservation(record):
                self._reserved[record.id] = record
                self._leader.claim(record)
            case _:
                raise BrokenStream(f"a {type(frame).__name__} frame that makes no sense here")

    def _hold_back(self, frame: frames.FromGateway) -> None:
        """For a process that may not lead any more, since it was stopped or the database is away: nothing is answered
        before it is known that nobody else does."""
        self.connection.hold()
        task = self._asking[HELD_BACK] = asyncio.create_task(self._go_on(frame), name="may a gateway be answered")
        task.add_done_callback(lambda done: self._asking.pop(HELD_BACK, None))

    async def _go_on(self, frame: frames.FromGateway) -> None:
        if not await self._authority.confirm():
            log.warning("another server leads: its gateways are to follow that one")
            return self.end()
        try:
            self._take_one(frame)
        except BrokenStream as fault:
            return self._end(fault)
        return self.connection.go_on(self._take)

    def _take_over(self, frame: frames.Over) -> None:
        for record in frame.records:
            self._reserved.pop(record.id, None)
            self._authority.books.settle(record)
        for request_id in frame.written:
            self._reserved.pop(request_id, None)

    def _note_synced(self, number: int) -> None:
        synced = self._syncs.pop(number, None)
        if synced is not None and not synced.done():  # else whoever asked has given up
            synced.set_result(None)

    # --- questions that take their time ---

    def _begin(self, number: int, answer: Coroutine[Any, Any, msgspec.Struct | None]) -> None:
        """Answers a question as soon as it can be. `answer`: None where it says what there is to say itself."""
        task = self._asking[number] = asyncio.create_task(self._answer(number, answer), name="question of a gateway")
        task.add_done_callback(partial(self._answered, number, answer))

    def _answered(
        self, number: int, answer: Coroutine[Any, Any, msgspec.Struct | None], task: asyncio.Task[None]
    ) -> None:
        self._asking.pop(number, None)
        answer.close()  # one that was cancelled before its first step was never awaited

    async def _answer(self, number: int, answer: Coroutine[Any, Any, msgspec.Struct | None]) -> None:
        try:
            found = await answer
        except ModelyardError as error:
            self._refuse(number, error)
        except Exception:
            log.exception("a question of a gateway could not be answered")
            self._refuse(number, ModelyardError("The request failed."))
        else:
            if found is not None:
                self.tell(found)

    def _refuse(self, number: int, error: ModelyardError, headers: Mapping[str, str] = {}) -> None:
        """Tells why a question has no answer. Where another server leads by now the gateway is to ask that one."""
        if isinstance(error, LeaseLost):
            self.end()
        else:
            self.tell(Refused.of(number, error, headers))

    async def _find_key(self, frame: frames.AskKey) -> frames.KeyFound:
        authenticator = self._authority.authenticator
        key = await authenticator.authenticate(frame.authorization, frame.address)
        return frames.KeyFound(frame.id, key, authenticator.age_s(frame.authorization))

    async def _find_model(self, frame: frames.AskModel) -> frames.ModelFound:
        plane = self._authority.plane
        card = plane.find_model(frame.account_id, frame.model_id)
        card = card or await plane.get_model(frame.account_id, frame.model_id)
        return frames.ModelFound(frame.id, replace(card, path=None, base=None))

    async def _find_cluster(self, frame: frames.AskCluster) -> frames.Agreed:
        await self._authority.plane.get_route(frame.account_id, frame.model_id)
        return frames.Agreed(frame.id)

    async def _find_death(self, frame: frames.AskDeath) -> frames.DeathFound:
        held = self._slots.get(frame.slot)
        death = None if held is None else await held[1].link.find_death(frame.timeout_s)
        return frames.DeathFound(frame.id, death)

    # --- slots ---

    def _ask_slot(self, frame: frames.AskSlot) -> None:
        """At once where it can be; else in a queue, or once the cluster is made."""
        route = self._authority.plane.find_route(frame.account_id, frame.model_id)
        if route is None or frame.alone:
            self._begin(frame.id, self._wait_for_slot(frame, route))
            return
        routes = self._authority.routes
        if (target := routes.take(route)) is not None:
            self._give(frame.id, route, target)
            return
        try:
            waiter = routes.enqueue(route, frame.deadline_s)
        except ModelyardError as error:
            self._refuse(frame.id, error)
            return
        self._waiting[frame.id] = Waiting(route, waiter)
        waiter.add_done_callback(partial(self._waited, frame.id))

    async def _wait_for_slot(self, frame: frames.AskSlot, route: Route | None) -> None:
        authority = self._authority
        route = route or await authority.plane.ensure_route(frame.account_id, frame.model_id, frame.capacity)
        acquire = authority.routes.acquire_alone if frame.alone else authority.routes.acquire
        self._give(frame.id, route, await acquire(route, frame.deadline_s))

    def _waited(self, number: int, waiter: asyncio.Future[Target]) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:  # it was given up
            return
        try:
            target = self._authority.routes.leave_with(waiter)
        except ModelyardError as error:
            self._refuse(number, error)
        else:
            self._give(number, waiting.route, target)

    def _give(self, number: int, route: Route, target: Target) -> None:
        if self._ended:
            self._authority.routes.release(route, target)
            return
        if target.replica_id not in self._known and not self._introduce(target):
            self._authority.routes.release(route, target)
            self._refuse(number, ReplicaLost("No other process can connect to this replica."))
            return
        self._slots[number] = (route, target)
        # Who waits had one recalled, unless all that were lent by then had been; then this one is given back for it.
        is_waited_for = route.waiting_alone or len(route.waiting) > self._leader.count_recalled(route.cluster_id)
        is_lent = target.slots > 1 and not target.alone and not is_waited_for
        if is_lent:
            self.loans.add(number, route)
        self.tell(frames.SlotGiven(number, route.cluster_id, target.replica_id, is_lent, not route.has_room))

    def _introduce(self, target: Target) -> bool:
        """Tells the gateway where a replica is; whether anybody can connect to it."""
        door = target.link.door
        if door is None:
            return False
        self._known[target.replica_id] = target.link
        ready_s = max(0.0, self._authority.clock.monotonic() - target.ready_at)
        self.tell(frames.Replica(target.replica_id, door.address, door.secret, door.adapter, ready_s))
        return True

    def _take_slot(self, frame: frames.HoldsSlot) -> None:
        """One that another server granted. Where its replica is gone there is nothing to hold: the gateway need not
        know that, if the machine is gone that it was on."""
        route = self._authority.plane.find_route(frame.account_id, frame.model_id)
        target = None if route is None else self._authority.routes.hold(route, frame.replica_id, alone=frame.alone)
        if route is not None and target is not None:
            if target.replica_id not in self._known:
                self._introduce(target)
            self._slots[frame.id] = (route, target)
        elif not self._authority.plane.has_replica(frame.replica_id):
            self.tell(frames.ReplicaGone(frame.replica_id))

    def _release(self, number: int, *, answered: bool = False) -> None:
        if (held := self._slots.pop(number, None)) is not None:
            self.loans.remove(number)
            self._authority.routes.release(*held, answered=answered)

    def _note_kept(self, kept: frames.Kept) -> None:
        if (told := self.loans.note(kept.cluster_id, kept.idle_on, kept.waiting)) is not None:
            route, more_idle, more_waiting = told
            self._authority.routes.note_kept(route, kept.answered, more_idle, more_waiting)

    def _give_up(self, number: int) -> None:
        if (waiting := self._waiting.pop(number, None)) is not None:
            self._authority.routes.leave(waiting.route, waiting.waiter)
        elif (task := self._asking.get(number)) is not None:
            task.cancel()
        else:
            self._release(number)
            self._leave(number)

    # --- admissions and records ---

    def _admit(self, frame: frames.AskAdmission) -> None:
        authority, account_id = self._authority, frame.key.account_id
        headers: dict[str, str] = {}
        try:
            authority.books.check()
            headers |= authority.limiter.take(frame.key)
            authority.funds.check(account_id)
            authority.quotas.begin(account_id)
        except ModelyardError as error:
            self._refuse(frame.id, error, headers)
        else:
            self._admitted[frame.id] = account_id
            self.tell(frames.Admitted(frame.id, headers))

    def _leave(self, number: int) -> None:
        if (account_id := self._admitted.pop(number, None)) is not None:
            self._authority.quotas.end(account_id)

    def _reserve(self, frame: frames.AskReserve) -> None:
        """To its end, whoever waits for it."""
        self._reserved[frame.record.id] = frame.record
        task = asyncio.create_task(self._set_aside(frame), name="reservation for a gateway")
        _reserving.add(task)
        task.add_done_callback(_reserving.discard)

    async def _set_aside(self, frame: frames.AskReserve) -> None:
        try:
            await self._authority.books.reserve(frame.record)
        except ModelyardError as error:
            self._reserved.pop(frame.record.id, None)
            self._refuse(frame.id, error)
        except Exception:
            log.exception("what a request may cost could not be set aside")
            self._refuse(frame.id, ModelyardError("The request failed."))
        else:
            if self._ended:
                self._leader.abandon([frame.record])
            self.tell(frames.Agreed(frame.id))

    # --- its end ---

    def _end(self, fault: BrokenStream | None) -> None:
        if self._ended:
            return
        if fault is not None:
            log.error("gateway %d broke the rules: %s", self.number, fault)
        self._ended = True
        self.connection.close()
        for task in list(self._asking.values()):
            task.cancel()
        for waiting in self._waiting.values():
            self._authority.routes.leave(waiting.route, waiting.waiter)
        self._waiting.clear()
        for route, more_idle, more_waiting in self.loans.end():
            self._authority.routes.note_kept(route, 0, more_idle, more_waiting)
        for number in list(self._slots):
            self._release(number)
        for number in list(self._admitted):
            self._leave(number)
        self._leader.abandon(self._reserved.values())
        self._authority.quotas.take_report(self, {})
        for number in list(self._syncs):
            self._note_synced(number)
        for number in list(self._files):
            self._note_file(number, None)
        self._leader.note_ended(self)


_reserving: set[asyncio.Task[None]] = set()
"""Holds on to reservations under way, as asyncio does not."""
