"""Which ready replica takes a request, and who waits while there is none.

Owns every in-flight count and every queue; a request holds a slot from `acquire` to `release`. The reconciler says
which replicas there are, the gateway acquires and releases; both on the event loop's thread, so that a replica can
never be stopped between being picked and being pinned.
"""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from weakref import WeakValueDictionary

from modelyard.clock import Clock
from modelyard.control.autoscaler import NO_LOAD, Load
from modelyard.control.keep_alive import LEAST_GAP_S
from modelyard.control.queue_deadlines import QueueDeadlines
from modelyard.control.targets import Process, Target
from modelyard.engine.link import ReplicaLink
from modelyard.errors import ModelyardError, QueueFull, make_error

ALL = sys.maxsize
"""As many slots as there are."""
BACK_S = 1.0
"""For how long a replica gets no requests, if there are others, whose link broke for one of them and is whole here:
mostly it has died, which is not known here yet, and each request that was sent there meanwhile would come back."""
EARLY_S = 0.01
"""By how much a timer may be early that counts milliseconds, as uvloop's do."""


@dataclass(eq=False, slots=True)
class Route:
    """One cluster's replicas and queues. `leaving`: take no new requests, but still hold some.
    `waiting_alone`: wait for a replica in whose process nothing is done, and go before all others in `waiting`.
    `failure`: what requests get while there is no replica; None: a place in the queue.
    `told_waiting`: how many have waited at most since the control loop last looked, which knows of so many. `touched`:
    something has happened to it since the loop last asked. `gaps_s`: for how long it had nothing to do before a request
    came, of those since the loop last looked. `lost_at`: when replicas were lost that may come back, by id. `finished`:
    requests that were answered since they were last counted; `answered_at`: when the latest of these was, None where
    there are none. `waiting_elsewhere`: requests that wait in another process for a slot.
    Whenever control returns to the event loop, no replica has room for whoever is first to get it."""

    cluster_id: str
    targets: dict[str, Target] = field(default_factory=dict)
    leaving: dict[str, Target] = field(default_factory=dict)
    waiting: deque[asyncio.Future[Target]] = field(default_factory=deque)
    waiting_alone: deque[asyncio.Future[Target]] = field(default_factory=deque)
    failure: ModelyardError | None = None
    told_waiting: int = 0
    touched: bool = False
    gaps_s: list[float] = field(default_factory=list)
    lost_at: dict[str, float] = field(default_factory=dict)
    last_activity: float = 0.0
    finished: int = 0
    answered_at: datetime | None = None
    waiting_elsewhere: int = 0

    def load(self) -> Load:
        """What the cluster has to do at this moment."""
        busy = queued = 0
        for targets in (self.targets, self.leaving):
            for target in targets.values():
                busy += target.in_flight - target.idle
        for queue in (self.waiting, self.waiting_alone):
            for waiter in queue:
                queued += not waiter.done()
        queued += self.waiting_elsewhere
        return Load(busy, queued) if busy or queued else NO_LOAD

    @property
    def has_room(self) -> bool:
        """Whether another request would be given a slot at once, as far as this cluster's slots go."""
        return any(target.in_flight < target.slots and not target.link.closed for target in self.targets.values())

    def count_waiting(self) -> int:
        """Requests in its queues, and those that wait elsewhere."""
        return len(self.waiting) + len(self.waiting_alone) + self.waiting_elsewhere

    def find(self, replica_id: str) -> Target | None:
        """One of its replicas that has requests, or may have."""
        return self.targets.get(replica_id) or self.leaving.get(replica_id)

    def in_flight(self, replica_id: str) -> int:
        """Requests of one replica."""
        target = self.find(replica_id)
        return 0 if target is None else target.requests

    def find_idlest(self) -> Target | None:
        """The replica with the fewest requests of those of which slots are kept without one."""
        return min((each for each in self.targets.values() if each.idle), key=lambda each: each.requests, default=None)


class Slots(ABC):
    """What requests ask of routes: a slot, and that it is free again. In the process that owns the routes, `Routes`."""

    @abstractmethod
    async def acquire(self, route: Route, deadline_s: float) -> Target:
        """A slot on the replica with the fewest requests in flight; waits in the queue while there is none.

        Raises: QueueFull; DeadlineExceeded after `deadline_s`; the cluster's failure.
        """

    @abstractmethod
    async def acquire_alone(self, route: Route, deadline_s: float) -> Target:
        """A replica whose process holds nothing else, of no route, and gets nothing else until it is released: for a
        request that may have ended one. Waits before all others, and is not turned away for their number.

        Raises: DeadlineExceeded after `deadline_s`; the cluster's failure.
        """

    @abstractmethod
    def release(self, route: Route, target: Target, *, answered: bool = False) -> bool:
        """Gives a slot back; the longest waiting request takes it. `answered`: a request of the route was. Returns
        whether something is to be sent for that before the answer is passed on."""

    @abstractmethod
    def lose(self, route: Route, target: Target) -> None:
        """Takes a replica whose link broke out of the route at once, before the reconciler has noticed; where there are
        others it does not come back for BACK_S.

        For the holder of one of its slots, which it releases afterwards.
        """


class Routes(Slots):
    """All clusters' routes."""

    def __init__(self, clock: Clock, *, max_queued: int, on_demand: Callable[[str], None]) -> None:
        """`max_queued`: requests that may wait per cluster before new ones are turned away. `on_demand`: called with a
        cluster's id when more requests wait than it knows of, a drained replica is free, or a link broke."""
        self._clock = clock
        self._max_queued = max_queued
        self._routes: dict[str, Route] = {}
        self._processes: WeakValueDictionary[str, Process] = WeakValueDictionary()
        self._on_demand = on_demand
        self._deadlines = QueueDeadlines()
        self._touched: list[Route] = []
        self.recall: Callable[[Route, int, str], None] = recall_nothing
        """Called where so many of the route's slots that were lent to another process are to be released, first those
        of the replica with this id."""
        self.tell_gone: Callable[[str], None] = tell_nobody
        """Called with the id of each replica that has ended, in whose requests other processes may wait."""

    def take_touched(self, most: int) -> Sequence[Route]:
        """So many of the routes to which a request has come, or from which one has gone, since they were taken last.
        For one reader."""
        taken = self._touched[:most]
        del self._touched[:most]
        for route in taken:
            route.touched = False
        return taken

    @property
    def have_been_touched(self) -> bool:
        """Whether there are more to take."""
        return bool(self._touched)

    def _touch(self, route: Route) -> None:
        if not route.touched:
            route.touched = True
            self._touched.append(route)

    def ensure(self, cluster_id: str) -> Route:
        """The cluster's route, made when it is new."""
        route = self._routes.get(cluster_id)
        if route is None:
            route = self._routes[cluster_id] = Route(cluster_id, last_activity=self._clock.monotonic())
        return route

    async def acquire(self, route: Route, deadline_s: float) -> Target:
        """See Slots."""
        return self.take(route) or await self._wait(route, route.waiting, self.enqueue(route, deadline_s))

    def take(self, route: Route) -> Target | None:
        """A slot, if one is free now and nobody waits for it; what came is activity in any case."""
        now = self._clock.monotonic()
        if now - route.last_activity >= LEAST_GAP_S and route.load() is NO_LOAD:
            route.gaps_s.append(now - route.last_activity)
        route.last_activity = now
        self._touch(route)
        if not route.waiting and not route.waiting_alone and (target := pick(route)) is not None:
            target.hold()
            self._keep_choice(route, target)
            return target
        return None

    def hold(self, route: Route, replica_id: str, *, alone: bool = False) -> Target | None:
        """The slot of a request that is on a replica already, since another server granted it; None: it is not there.

        Whatever else was granted meanwhile: for a moment a replica may hold more than it has slots.
        """
        target = route.find(replica_id)
        if target is not None:
            target.hold(alone=alone or target.alone)
            route.last_activity = self._clock.monotonic()
            self._touch(route)
        return target

    def enqueue(self, route: Route, deadline_s: float) -> asyncio.Future[Target]:
        """A place in the queue, for whoever was given no slot: a slot, or why there is none. Who waits no more says so
        with `leave`.

        Raises: QueueFull; the cluster's failure.
        """
        if route.failure is not None:
            raise fresh(route.failure)
        if len(route.waiting) >= self._max_queued + sum(each.idle for each in route.targets.values()):
            raise QueueFull(
                f"{self._max_queued} requests wait for this model already.",
                retry_after_s=1.0,
            )
        return self._queue(route, route.waiting, deadline_s)

    def leave(self, route: Route, waiter: asyncio.Future[Target]) -> None:
        """Ends a place in the queue, whether it has led to a slot, which is given back, to nothing, or not yet."""
        self._leave_queue(route, route.waiting, waiter)
        self._deadlines.remove(waiter)

    def leave_with(self, waiter: asyncio.Future[Target]) -> Target:
        """Ends a place in the queue that has led to something: the slot. Raises what there was in place of one."""
        self._deadlines.remove(waiter)
        return waiter.result()

    async def acquire_alone(self, route: Route, deadline_s: float) -> Target:
        """See Slots."""
        self._touch(route)
        if not route.waiting_alone and (target := pick_alone(route)) is not None:
            target.hold(alone=True)
            return target
        if route.failure is not None:
            raise fresh(route.failure)
        waiter = self._queue(route, route.waiting_alone, deadline_s)
        return await self._wait(route, route.waiting_alone, waiter)

    def release(self, route: Route, target: Target, *, answered: bool = False) -> bool:
        """See Slots."""
        waits = bool(route.waiting)
        self._note_answered(route, answered)
        target.let_go()
        route.last_activity = self._clock.monotonic()
        self._touch(route)
        if target.replica_id in route.leaving and target.in_flight == 0:
            route.leaving.pop(target.replica_id)
            self._on_demand(route.cluster_id)  # a drained replica can be stopped
        if len(target.process.routes) > 1 or route.waiting_alone:
            self._serve_queues(route, [target.process])
        elif route.waiting:  # nobody else has waited for this place
            self._serve_queue(route)
        return waits

    def note_kept(self, route: Route, answered: int, more_idle: Mapping[str, int], more_waiting: int) -> None:
        """So many requests were answered elsewhere whose slots are kept there; how many more slots are idle, by
        replica, and how many more requests wait."""
        self._note_answered(route, answered)
        route.waiting_elsewhere += more_waiting
        for replica_id, more in more_idle.items():
            if (target := route.find(replica_id)) is not None:
                target.note_idle(more)
                self._keep_choice(route, target)
        route.last_activity = self._clock.monotonic()
        self._touch(route)
        self._tell_waiting(route)

    def _note_answered(self, route: Route, answered: int) -> None:
        if answered:
            route.finished += answered
            route.answered_at = self._clock.now()

    def _keep_choice(self, route: Route, target: Target) -> None:
        """Of a replica all of whose slots are held, some without a request, one is to be there for whoever asks next:
        else that request would go where others are. Those that wait have asked for one."""
        if target.idle and target.in_flight >= target.slots and len(route.targets) > 1 and not route.count_waiting():
            self.recall(route, 1, target.replica_id)

    def lose(self, route: Route, target: Target) -> None:
        """See Slots."""
        if route.targets.get(target.replica_id) is target:
            route.leaving[target.replica_id] = self._take_out(route, target.replica_id)
            if route.targets:  # they take its requests meanwhile; else all would wait for one who may be mistaken
                route.lost_at[target.replica_id] = self._clock.monotonic()
                asyncio.get_running_loop().call_later(BACK_S + EARLY_S, self._on_demand, route.cluster_id)
            self._serve_queues(route, [target.process])
        self._on_demand(route.cluster_id)

    def publish(
        self,
        cluster_id: str,
        links: Mapping[str, tuple[ReplicaLink, int]],
        failure: ModelyardError | None = None,
        beside: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """From now on exactly these replicas (id → link, slots) take the cluster's new requests.

        `failure`: what everyone gets who waits, or comes, while there is none of them; None: they wait. `beside`: the
        replicas, by id, in whose processes those of them run that have none of their own. Idempotent.
        """
        route = self.ensure(cluster_id)
        if route.lost_at:
            since = self._clock.monotonic() - BACK_S
            route.lost_at = {replica_id: at for replica_id, at in route.lost_at.items() if at > since}
        changed = []
        for gone_id in route.targets.keys() - links.keys():
            target = self._take_out(route, gone_id)
            changed.append(target.process)
            if target.in_flight:
                route.leaving[gone_id] = target
        for replica_id, (link, slots) in links.items():
            if replica_id not in route.targets and replica_id not in route.lost_at and not link.closed:
                # One that was lost by mistake comes back with what it holds, so that no request is counted twice.
                known = route.leaving.pop(replica_id, None)
                process = self._ensure_process(beside.get(replica_id, replica_id))
                target = known or Target(replica_id, link, slots, 0, process, self._clock.monotonic())
                route.targets[replica_id] = target
                target.process.routes[cluster_id] = route
        route.failure = failure if not route.targets else None
        self._serve_queues(route, changed)
        route.told_waiting = route.count_waiting()

    def remove(self, cluster_id: str, error: ModelyardError) -> None:
        """Forgets a cluster; who waits, or still holds its route and comes later, gets `error`. Idempotent."""
        if cluster_id in self._routes:
            self.publish(cluster_id, {}, error)
            del self._routes[cluster_id]

    def _ensure_process(self, replica_id: str) -> Process:
        process = self._processes.get(replica_id)
        if process is None:
            process = self._processes[replica_id] = Process()
        return process

    def _take_out(self, route: Route, replica_id: str) -> Target:
        """Takes a replica out of those that get new requests of the route."""
        self.recall(route, ALL, "")
        target = route.targets.pop(replica_id)
        target.process.routes.pop(route.cluster_id, None)
        return target

    def _queue(self, route: Route, queue: deque[asyncio.Future[Target]], deadline_s: float) -> asyncio.Future[Target]:
        waiter: asyncio.Future[Target] = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        self._tell_waiting(route)
        self._deadlines.add(waiter, deadline_s)
        if queue is route.waiting:
            idlest = route.find_idlest()
            self.recall(route, 1, "" if idlest is None else idlest.replica_id)
        else:  # it waits for those that share a process with its replicas, too
            for each in relatives(route, ()):
                self.recall(each, ALL, "")
        return waiter

    def _tell_waiting(self, route: Route) -> None:
        if (waiting := route.count_waiting()) > route.told_waiting:  # else each request of a busy cluster is a look
            route.told_waiting = waiting
            self._on_demand(route.cluster_id)

    async def _wait(self, route: Route, queue: deque[asyncio.Future[Target]], waiter: asyncio.Future[Target]) -> Target:
        try:
            return await waiter
        except BaseException:
            self._leave_queue(route, queue, waiter)
            raise
        finally:
            self._deadlines.remove(waiter)

    def _serve_queues(self, route: Route, processes: Iterable[Process]) -> None:
        """Serves the route, of which something has changed, and all that share processes with it, these among them.
        Those first in which a request waits for a process to itself: the others wait for that."""
        related = relatives(route, processes)
        for each in related:
            if each.waiting_alone:
                self._serve_queue(each)
        for each in related:
            self._serve_queue(each)

    def _serve_queue(self, route: Route) -> None:
        while queue := route.waiting_alone or route.waiting:
            alone = queue is route.waiting_alone
            target = pick_alone(route) if alone else pick(route)
            if target is None and route.failure is None:
                return
            waiter = queue.popleft()
            if waiter.done():
                continue
            if target is not None:
                target.hold(alone=alone)
                waiter.set_result(target)
            elif route.failure is not None:
                waiter.set_exception(fresh(route.failure))

    def _leave_queue(self, route: Route, queue: deque[asyncio.Future[Target]], waiter: asyncio.Future[Target]) -> None:
        """For a waiter that gave up: out of the queue, or, when it was given a slot in that moment, gives it back."""
        self._touch(route)
        if waiter in queue:
            queue.remove(waiter)
            # Others may have waited behind one that needs a process to itself.
            self._serve_queues(route, ())
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.release(route, waiter.result())


def relatives(route: Route, processes: Iterable[Process]) -> list[Route]:
    """The route, those that send requests to these processes, and all that share any with one of them. Pure."""
    found = {route.cluster_id: route}
    unseen = [*processes, *(target.process for target in route.targets.values())]
    while unseen:
        for cluster_id, each in unseen.pop().routes.items():
            if cluster_id not in found:
                found[cluster_id] = each
                unseen += [target.process for target in each.targets.values()]
    return list(found.values())


def pick(route: Route) -> Target | None:
    """The replica with the fewest requests in flight, in its process, that has a free slot and a connection; of several
    the one of which the fewest slots are kept for others' requests. Pure."""
    best, fewest = None, (0, 0)
    for target in route.targets.values():
        process = target.process
        if target.in_flight < target.slots and process.is_open_to(route) and not target.link.closed:
            few = process.in_flight - process.idle, process.in_flight
            if best is None or few < fewest:
                best, fewest = target, few
    return best


def pick_alone(route: Route) -> Target | None:
    """A replica in whose process nothing is done, and that has a connection. Pure."""
    idle = (each for each in route.targets.values() if not each.process.in_flight and not each.link.closed)
    return next(idle, None)


def fresh(error: ModelyardError) -> ModelyardError:
    """An equal error: one instance raised again and again would keep every stack it ever passed through."""
    return make_error(error.code, error.message, error.data)


def recall_nothing(route: Route, count: int, replica_id: str) -> None:
    """Where no other process is lent slots."""


def tell_nobody(replica_id: str) -> None:
    """Where no other process sends requests to replicas."""
