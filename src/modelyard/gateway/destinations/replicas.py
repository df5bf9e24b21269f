"""Inferences to this server's own replicas: pick one, wait while it boots, try another where nothing was lost.

Owns the retry rule: a request nobody has begun to answer is tried on another replica; an answer that broke off in the
middle is broken off for the client too. A replica that died took all it held along, and any of that may have killed it:
each is tried once more, alone, so that who kills its second replica harms nobody else and is not tried again. A request
that was cancelled holds its replica until that has let go of it.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from msgspec.structs import replace

from modelyard.control.plane import InferencePlane
from modelyard.control.routes import Route, Slots
from modelyard.control.targets import Target
from modelyard.engine.link import Exchange
from modelyard.errors import ModelyardError, ReplicaLost
from modelyard.gateway.destinations.base import Destination, OnPiece, OnSpent
from modelyard.gateway.destinations.spans import end_queue, end_try, open_try
from modelyard.gateway.model_request import ModelRequest
from modelyard.protocol import Outcome, Usage
from modelyard.records.deaths import Death
from modelyard.worker.limits import no_memory_for

MAX_DEATHS = 2
"""Replicas that died with a request, the second holding nothing else, were killed by it."""
DEATH_TOLD_S = 5.0
"""How long the client waits at most to be told what its request died of: the engine knows within milliseconds."""
MAX_TRIES = 4
"""Replicas that had the request, with those that were ended for another's sake or went with their node."""
AGAIN_S = 0.1
"""How long a request waits that was given a replica which was gone when it was given it before."""


class Replicas(Destination):
    """Sends inferences to the replicas of their account's cluster."""

    def __init__(self, plane: InferencePlane, routes: Slots, *, queue_wait_s: float, cancel_grace_s: float) -> None:
        """`queue_wait_s`: how long a request may wait for a replica in all. `cancel_grace_s`: how long a replica may go
        on with a request that was cancelled before it is ended."""
        self._plane = plane
        self.routes = routes
        self._queue_wait_s = queue_wait_s
        self.cancel_grace_s = cancel_grace_s

    async def run(self, request: ModelRequest, on_piece: OnPiece | None, on_spent: OnSpent) -> Outcome:
        """See Destination. The time of a replica that died is nobody's; that of one which had to be ended, because it
        went on with a request that was cancelled, is the request's.

        Raises UnknownCluster, QuotaExceeded, QueueFull, DeadlineExceeded, the cluster's failure, InputTooLarge
        when its replicas died for want of memory, and ReplicaLost when no try succeeded, no replica that it was given
        could be reached in all that time, or a stream broke off.
        """
        account_id, model_id = request.key.account_id, request.card.model_id
        route = request.route or self._plane.find_route(account_id, model_id)
        if route is None:
            route = await self._plane.ensure_route(account_id, model_id, request.capacity)
        begun = now = time.monotonic()
        tries: Tries | None = None
        while True:
            acquire = self.routes.acquire_alone if tries is not None and tries.deaths else self.routes.acquire
            queue = None if request.span is None else request.span.open("queue")
            target = await acquire(route, max(0.001, begun + self._queue_wait_s - now))
            now = time.monotonic()
            request.deadline.found_replica(now)
            if queue is not None:
                end_queue(queue, target)
            queued_us = int((now - begun) * 1e6)
            attempt = Attempt(self, request, route, target, on_piece, queued_us)
            try:
                return await attempt.run()
            except ReplicaLost as error:
                attempt.usage = Usage()
                self.routes.lose(route, target)
                if attempt.started:
                    raise
                tries = tries or Tries(model_id, begun, self._queue_wait_s)
                await tries.note_lost(target, error, sent=attempt.sent)
            finally:
                on_spent(target.replica_id, attempt.usage)
                attempt.give_back(answered=attempt.finished)
            if tries.pause_s:
                await asyncio.sleep(tries.pause_s)
            now = time.monotonic()

    def end_stuck(self, route: Route, target: Target) -> None:
        """Ends a replica that goes on with a request that was cancelled."""
        target.process.was_ended = True
        words = f"it went on for {self.cancel_grace_s:g} s with a request that was cancelled"
        self._plane.end_stuck(route.cluster_id, target.replica_id, words)


class Slot:
    """A request's place on a replica, which is given back once: when the answer is here, or when the try is over."""

    __slots__ = ("_is_held", "_route", "_routes", "_target")

    def __init__(self, routes: Slots, route: Route, target: Target) -> None:
        self._routes = routes
        self._route = route
        self._target = target
        self._is_held = True

    def give_back(self, *, answered: bool = False) -> bool:
        """Lets the next one have it; whether something is to be sent for that before the answer is passed on."""
        if not self._is_held:
            return False
        self._is_held = False
        return self._routes.release(self._route, self._target, answered=answered)


class Attempt(Slot):
    """One try on one replica, and its place there. `sent`: the replica may have it; `started`: the client has seen part
    of the answer; `finished`: it was answered; `usage`: what it took, once it is over; without an answer, the time that
    it held the replica."""

    __slots__ = (
        "_began_ns", "_first_piece_us", "_on_piece", "_queued_us", "_replicas", "_request", "finished", "sent",
        "started", "usage",
    )  # fmt: skip

    def __init__(
        self,
        replicas: Replicas,
        request: ModelRequest,
        route: Route,
        target: Target,
        on_piece: OnPiece | None,
        queued_us: int,
    ) -> None:
        """`target`: where it holds a place. `queued_us`: microseconds for which the request had waited for that."""
        super().__init__(replicas.routes, route, target)
        self._replicas = replicas
        self._request = request
        self._on_piece = on_piece
        self._queued_us = queued_us
        self.sent = False
        self.started = False
        self.finished = False
        self.usage = Usage()
        self._first_piece_us: int | None = None

    async def run(self) -> Outcome:
        """Sends the request and passes on what comes back; the times are this process's own.

        Cancelled, it ends when the replica has let go of the request, or is gone.
        """
        inference, on_piece, above = self._request.inference, self._on_piece, self._request.span
        span = None if above is None else open_try(above, self._target)
        self._began_ns = time.perf_counter_ns()
        exchange = self._target.link.request(
            inference.fields, inference.params, stream=on_piece is not None, timed=span is not None
        )
        self.sent = True
        exchange.on_finished = self.give_back
        try:
            outcome = await exchange.run(None if on_piece is None else partial(self._pass_on, exchange, on_piece))
        except BaseException as error:
            if not exchange.finished:
                await self._wait_let_go(exchange)
            if span is not None:
                span.end(error=error)
            raise
        finally:
            self.usage = Usage(took_us=self._elapsed_us())
        self.finished = True
        self.usage = replace(
            outcome.usage, first_piece_us=self._first_piece_us, took_us=self.usage.took_us, queued_us=self._queued_us
        )
        outcome = replace(outcome, usage=self.usage)
        if span is not None:
            end_try(span, outcome)
        return outcome

    async def _pass_on(self, exchange: Exchange, on_piece: OnPiece, piece: str) -> None:
        if not self.started:
            self.started = True
            self._first_piece_us = self._elapsed_us()
            self._request.reading.tokens = exchange.prompt_tokens
        await on_piece(piece)

    async def _wait_let_go(self, exchange: Exchange) -> None:
        """Returns when the replica has let go, however often this is cancelled: until then it is worked for."""
        end_stuck = partial(self._replicas.end_stuck, self._route, self._target)
        timer = asyncio.get_running_loop().call_later(self._replicas.cancel_grace_s, end_stuck)
        letting_go = asyncio.ensure_future(exchange.wait_finished())
        try:
            while not letting_go.done():
                try:
                    await asyncio.wait({letting_go})
                except asyncio.CancelledError:  # raised again by the caller, who was cancelled before
                    continue
        finally:
            timer.cancel()

    def _elapsed_us(self) -> int:
        return (time.perf_counter_ns() - self._began_ns) // 1000


class Tries:
    """The replicas that one request was given and that were lost. `deaths`: those that died with it, as far as it may
    have been the cause; `pause_s`: how long it waits before the next is asked for."""

    def __init__(self, model_id: str, begun: float, queue_wait_s: float) -> None:
        """`begun`: when the request asked for its first replica, by the monotonic clock; for so long it may."""
        self.deaths = 0
        self.pause_s = 0.0
        self._model_id = model_id
        self._over_at = begun + queue_wait_s
        self._queue_wait_s = queue_wait_s
        self._sent = 0
        self._gone: set[str] = set()

    async def note_lost(self, target: Target, error: ReplicaLost, *, sent: bool) -> None:
        """One more. `sent`: it may have had the request. Raises what the request gets where it is not tried again."""
        self.pause_s = 0.0
        if not sent:
            if time.monotonic() >= self._over_at:
                words = f"No replica could be reached within {self._queue_wait_s:g} s."
                raise ReplicaLost(words, detail=error.message, cause="tries", model=self._model_id) from error
            if target.replica_id in self._gone:
                self.pause_s = AGAIN_S
            self._gone.add(target.replica_id)
            return
        self._sent += 1
        self.deaths += not target.was_ended
        if self.deaths == MAX_DEATHS:
            death = await target.link.find_death(DEATH_TOLD_S)
            if death is None or not death.host_died:
                raise killed_replicas(self._model_id, death) from error
            self.deaths -= 1
        if self._sent == MAX_TRIES:
            words = f"{MAX_TRIES} replicas ended before they answered this request."
            raise ReplicaLost(words, cause="tries", model=self._model_id) from error


def killed_replicas(model_id: str, death: Death | None) -> ModelyardError:
    """What a request gets that is not tried again. `death`: how the replica ended that held it alone, where known."""
    if death is None or death.lack is None:
        words = f"{MAX_DEATHS} replicas died while they held this request, the second held nothing else."
        return ReplicaLost(words, cause="tries", model=model_id)
    what = f"on this input, with which {MAX_DEATHS} replicas died, the second holding nothing else"
    figures = {"held_bytes": death.held_bytes, "limit_bytes": death.limit_bytes}
    known = {name: count for name, count in figures.items() if count is not None}
    return no_memory_for(known, what, cause=death.lack)
