"""Models, and slots on replicas, in a gateway: granted one by one by the process that is followed, unless one is kept.

Owns the gateway's own connections to replicas. Requests and answers go over these, past that process.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import Any

from modelyard.accounts.keys import keep
from modelyard.control.plane import InferencePlane
from modelyard.control.routes import Route, Slots
from modelyard.control.targets import Process, Target
from modelyard.engine.doors import Door
from modelyard.engine.link import Exchange, Link, ReplicaLink
from modelyard.errors import ReplicaLost
from modelyard.gateway.following import frames
from modelyard.gateway.following.follower import Follower
from modelyard.gateway.following.kept_slots import FollowedTarget, KeptSlots
from modelyard.protocol import Status
from modelyard.records.clusters import Capacity
from modelyard.records.deaths import Death
from modelyard.records.models import ModelCard
from modelyard.tls import LinkTls

CARD_S = 1.0
"""How long a card is used without asking for it again."""


@dataclass(eq=False, slots=True)
class FollowedRoute(Route):
    """Where requests to an account's cluster go: asked for with the slot. `cluster_id` is empty before the first."""

    account_id: str = ""
    model_id: str = ""
    capacity: Capacity | None = None


class FollowedPlane(InferencePlane):
    """Asks the process that is followed."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._cards: OrderedDict[str, tuple[ModelCard, float]] = OrderedDict()
        follower.on_sync.append(self._cards.clear)

    def find_model(self, account_id: str, model_id: str) -> ModelCard | None:
        """See InferencePlane."""
        known = self._cards.get(f"{account_id} {model_id}")
        return None if known is None or monotonic() - known[1] > CARD_S else known[0]

    async def get_model(self, account_id: str, model_id: str) -> ModelCard:
        """See InferencePlane."""
        number, asked_at = self._follower.next_number(), monotonic()
        question = frames.AskModel(number, account_id, model_id)
        found = await self._follower.ask_plainly(number, question, frames.ModelFound)
        keep(self._cards, f"{account_id} {model_id}", (found.card, asked_at))
        return found.card

    async def ensure_route(self, account_id: str, model_id: str, capacity: Capacity | None = None) -> Route:
        """See InferencePlane; what it raises, the slot raises."""
        return FollowedRoute("", account_id=account_id, model_id=model_id, capacity=capacity)

    def find_route(self, account_id: str, model_id: str) -> Route | None:
        """See InferencePlane: nothing is known here."""
        return None

    async def get_route(self, account_id: str, model_id: str) -> Route:
        """See InferencePlane."""
        number = self._follower.next_number()
        question = frames.AskCluster(number, account_id, model_id)
        await self._follower.ask_plainly(number, question, frames.Agreed)
        return await self.ensure_route(account_id, model_id)

    def end_stuck(self, cluster_id: str, replica_id: str, reason: str) -> None:
        """See InferencePlane."""
        self._follower.tell(frames.EndStuck(cluster_id, replica_id, reason))


class FollowedSlots(Slots):
    """Asks for each slot, and connects to the replica it is on."""

    def __init__(self, follower: Follower, tls: LinkTls | None = None) -> None:
        """`tls`: what replicas on other machines are shown, where they want it."""
        self._follower = follower
        self._tls = tls
        self._links: dict[str, asyncio.Task[Link]] = {}
        """By address: adapters share their base's."""
        self._processes: dict[str, Process] = {}
        self._held: dict[int, frames.HoldsSlot] = {}
        self._answered: list[frames.HoldsSlot] = []
        """What was held by requests that were answered while there was nobody to tell."""
        self._large_frames = asyncio.Lock()
        self._kept = KeptSlots(follower.tell, follower.tell_soon)
        follower.on_followed.append(self._tell_held)
        follower.on_left.append(self._kept.forget)
        follower.on_recall = self._kept.recall
        follower.on_gone = self._end_link
        follower.on_telling.append(self._kept.tell_changes)
        follower.on_telling_all.append(self._kept.give_back_idle)

    async def acquire(self, route: Route, deadline_s: float) -> Target:
        """See Slots."""
        assert isinstance(route, FollowedRoute)  # noqa: S101 - there are no others here
        kept = self._kept.take(route.account_id, route.model_id) if self._follower.follows else None
        if isinstance(kept, asyncio.Future):
            kept = await self._wait(kept)
        if kept is None:
            return await self._acquire(route, deadline_s, alone=False)
        self._held[kept.held.id] = kept.held
        kept.hold()
        route.cluster_id = kept.cluster_id
        return kept

    async def acquire_alone(self, route: Route, deadline_s: float) -> Target:
        """See Slots."""
        return await self._acquire(route, deadline_s, alone=True)

    def release(self, route: Route, target: Target, *, answered: bool = False) -> bool:
        """See Slots. What is told here of a request that may be on a bill is on its way before the client has its
        answer: should this process be killed in between, the answer is counted all the same."""
        assert isinstance(target, FollowedTarget)  # noqa: S101 - there are no others here
        number = target.held.id
        target.let_go()
        held = self._held.pop(number, None)
        has_next = self._kept.keep(target) if answered else None
        if has_next is not None:
            if target.held.account_id not in self._follower.accounts.funded:
                return has_next
            self._follower.tell_this_turn()
            return True
        self._kept.note_released(target)
        if self._follower.can_tell:
            self._follower.tell(frames.Released(number, answered))
        elif answered and held is not None:
            self._answered.append(held)
        return True

    def lose(self, route: Route, target: Target) -> None:
        """See Slots."""
        assert isinstance(target, FollowedTarget)  # noqa: S101 - there are no others here
        door = self._follower.doors.get(target.replica_id)
        if door is not None and door.address in self._follower.ended:
            target.process.was_ended = True
        self._follower.tell(frames.Lost(target.held.id))

    async def _wait(self, waiter: asyncio.Future[FollowedTarget | None]) -> FollowedTarget | None:
        """One that is kept, as soon as a request lets go of it; None: one is to be asked for."""
        try:
            kept = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and (kept := waiter.result()) is not None:
                self._kept.put_back(kept)
            raise
        return kept if kept is not None and kept.share is not None else None

    def _tell_held(self) -> None:
        """Tells a process that has given none of them. It tells of replicas anew that it gives slots of."""
        for replica_id, door in list(self._follower.doors.items()):
            if self._find_link(door) is None:
                self._forget(replica_id)
        answered, self._answered = self._answered, []
        for held in (*self._held.values(), *answered):
            self._follower.tell(held)
        for held in answered:
            self._follower.tell(frames.Released(held.id, answered=True))

    async def close(self) -> None:
        """Closes the connections to replicas. Idempotent."""
        for link in list(self._links.values()):
            link.cancel()
            await asyncio.wait({link})
            if not link.cancelled() and link.exception() is None:
                await link.result().close()
        self._links.clear()

    async def _acquire(self, route: Route, deadline_s: float, *, alone: bool) -> Target:
        assert isinstance(route, FollowedRoute)  # noqa: S101 - there are no others here
        follower = self._follower
        number = follower.next_number()
        question = frames.AskSlot(number, route.account_id, route.model_id, route.capacity, deadline_s, alone)
        given = await follower.ask_plainly(number, question, frames.SlotGiven)
        route.cluster_id = given.cluster_id
        held = frames.HoldsSlot(number, route.account_id, route.model_id, given.replica_id, alone)
        self._held[number] = held
        door = follower.doors.get(given.replica_id)
        if door is None:  # it has ended since the slot was given
            gone = HeldLink(Gone(ReplicaLost()), "", follower, number)
            return FollowedTarget(given.replica_id, gone, 1, 1, Process(1), held=held)
        link: Link | Gone | None = self._find_link(door)
        if link is None:
            try:
                link = await self._connect(door, given.replica_id)
            except asyncio.CancelledError:
                self._held.pop(number, None)
                follower.tell(frames.Released(number))
                raise
        whole = HeldLink(link, door.adapter, follower, number)
        process = self._processes.get(door.address)
        if process is None:
            process = self._processes[door.address] = Process()
        target = FollowedTarget(
            given.replica_id, whole, 1, 0, process, door.ready_at, held=held, cluster_id=given.cluster_id
        )
        target.hold()
        if given.is_lent:
            self._kept.lend(target, is_full=given.is_full)
        return target

    def _find_link(self, door: Door) -> Link | None:
        """The connection that there is."""
        task = self._links.get(door.address)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return None if task.result().closed else task.result()

    async def _connect(self, door: Door, replica_id: str) -> Link | Gone:
        """One connection for all who want it at once; another one where the last could not be made, or broke."""
        task = self._links.get(door.address)
        if task is None or task.done():
            connecting = Link.connect(
                door.address, door.secret, ignore, turn=self._large_frames, tls=self._tls, replica_id=replica_id
            )
            task = self._links[door.address] = asyncio.create_task(connecting, name="connect to a replica")
            task.add_done_callback(look_at)
        await asyncio.wait({task})
        if task.cancelled():  # the replica has ended meanwhile
            return Gone(ReplicaLost())
        try:
            return task.result()
        except ReplicaLost as error:
            return Gone(error)

    def _end_link(self, replica_id: str) -> None:
        """A replica has ended: what waits for it here is told so, although its machine may never break a connection."""
        door = self._follower.doors.get(replica_id)
        if door is None or door.adapter:
            return self._forget(replica_id)
        if door.address in self._follower.ended and door.address in self._processes:
            self._processes[door.address].was_ended = True
        connecting, link = self._links.get(door.address), self._find_link(door)
        if link is not None:
            link.abort()
        elif connecting is not None:
            connecting.cancel()
        return self._forget(replica_id)

    def _forget(self, replica_id: str) -> None:
        door = self._follower.doors.pop(replica_id, None)
        if door is not None and not door.adapter:
            self._follower.ended.discard(door.address)
            self._links.pop(door.address, None)
            self._processes.pop(door.address, None)


class HeldLink(ReplicaLink):
    """A replica's connection for the holder of a slot: the end of the replica is asked for with that."""

    __slots__ = ("_adapter", "_follower", "_link", "_number")

    def __init__(self, link: Link | Gone, adapter: str, follower: Follower, number: int) -> None:
        self._link = link
        self._adapter = adapter
        self._follower = follower
        self._number = number

    @property
    def closed(self) -> bool:
        """See ReplicaLink."""
        return self._link.closed

    def request(self, fields: dict[str, Any], params: dict[str, Any], *, stream: bool, timed: bool = False) -> Exchange:
        """See ReplicaLink."""
        return self._link.request(fields, params, stream=stream, timed=timed, adapter=self._adapter)

    async def find_death(self, timeout_s: float) -> Death | None:
        """See ReplicaLink."""
        number = self._follower.next_number()
        question = frames.AskDeath(number, self._number, timeout_s)
        return (await self._follower.ask_plainly(number, question, frames.DeathFound)).death


class Gone:
    """In place of a connection that could not be made."""

    closed = True

    def __init__(self, error: ReplicaLost) -> None:
        self._error = error

    def request(
        self, fields: dict[str, Any], params: dict[str, Any], *, stream: bool, timed: bool = False, adapter: str = ""
    ) -> Exchange:
        """Raises ReplicaLost."""
        raise ReplicaLost(self._error.message)


def ignore(status: Status) -> None:
    """How far a replica has got is the business of the process that is followed."""


def look_at(task: asyncio.Task[Link]) -> None:
    """Takes note of an error that nobody may have waited for."""
    if not task.cancelled():
        task.exception()
