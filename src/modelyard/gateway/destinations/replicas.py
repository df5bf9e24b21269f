"""Inferences to this server's own replicas: pick one, wait while it boots, try another where nothing was lost.

Owns the retry rule: a request nobody has begun to answer is tried on another replica; an answer that broke off in the
middle is broken off for the client too. A replica that died took all it held along, and any of that may have killed it:
each is tried once more, alone, so that who kills its second replica harms nobody else and is not tried again. A request
that was cancelled holds its replica until that has let go of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from modelyard.control.plane import InferencePlane
from modelyard.control.routes import Route, Slots, Target
from modelyard.engine.link import Exchange, OnFinished
from modelyard.errors import ModelyardError, ReplicaLost
from modelyard.gateway.destinations.base import Destination, OnPiece, OnSpent
from modelyard.gateway.model_request import ModelRequest, Reading
from modelyard.protocol import Outcome, Usage
from modelyard.records.deaths import Death
from modelyard.tasks.body import Inference
from modelyard.worker.limits import no_memory_for

MAX_DEATHS = 2
"""Replicas that died with a request, the second holding nothing else, were killed by it."""
DEATH_TOLD_S = 5.0
"""How long the client waits at most to be told what its request died of: the engine knows within milliseconds."""
MAX_TRIES = 4
"""Replicas in all, with those that were gone before they had the request or were ended for another's sake."""


class Replicas(Destination):
    """Sends inferences to the replicas of their account's cluster."""

    def __init__(self, plane: InferencePlane, routes: Slots, *, queue_wait_s: float, cancel_grace_s: float) -> None:
        """`queue_wait_s`: how long a request may wait for a replica in all. `cancel_grace_s`: how long a replica may go
        on with a request that was cancelled before it is ended."""
        self._plane = plane
        self._routes = routes
        self._queue_wait_s = queue_wait_s
        self._cancel_grace_s = cancel_grace_s

    async def run(self, request: ModelRequest, on_piece: OnPiece | None, on_spent: OnSpent) -> Outcome:
        """See Destination. The time of a replica that died is nobody's; that of one which had to be ended, because it
        went on with a request that was cancelled, is the request's.

        Raises UnknownCluster, QuotaExceeded, QueueFull, DeadlineExceeded, the cluster's failure, InputTooLarge
        when its replicas died for want of memory, and ReplicaLost when no try succeeded or a stream broke off.
        """
        route = await self._route(request)
        begun = time.monotonic()
        deadline = begun + self._queue_wait_s
        deaths = tries = 0
        while True:
            tries += 1
            acquire = self._routes.acquire_alone if deaths else self._routes.acquire
            target = await acquire(route, max(0.001, deadline - time.monotonic()))
            request.deadline.found_replica()
            queued_us = int((time.monotonic() - begun) * 1e6)
            end_stuck = partial(self._end_stuck, route, target)
            attempt = Attempt(on_piece, request.reading, self._cancel_grace_s, end_stuck, queued_us)
            slot = Slot(self._routes, route, target)
            try:
                return await attempt.run(target, request.inference, slot.give_back)
            except ReplicaLost as error:
                attempt.took_us = 0
                self._routes.lose(route, target)
                if attempt.started:
                    raise
                deaths += attempt.sent and not target.was_ended
                if deaths == MAX_DEATHS:
                    death = await target.link.find_death(DEATH_TOLD_S)
                    raise killed_replicas(request, death) from error
                if tries == MAX_TRIES:
                    words = f"{MAX_TRIES} replicas ended before they answered this request."
                    raise ReplicaLost(words, cause="tries", model=request.card.model_id) from error
            finally:
                on_spent(target.replica_id, Usage(took_us=attempt.took_us))
                slot.give_back(answered=attempt.finished)

    def _end_stuck(self, route: Route, target: Target) -> None:
        target.process.was_ended = True
        words = f"it went on for {self._cancel_grace_s:g} s with a request that was cancelled"
        self._plane.end_stuck(route.cluster_id, target.replica_id, words)

    async def _route(self, request: ModelRequest) -> Route:
        account_id, model_id = request.key.account_id, request.card.model_id
        return request.route or await self._plane.ensure_route(account_id, model_id, request.capacity)


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


class Attempt:
    """One try on one replica. `sent`: the replica may have it; `started`: the client has seen part of the answer;
    `finished`: it was answered; `took_us`: microseconds it held the replica."""

    def __init__(
        self,
        on_piece: OnPiece | None,
        reading: Reading,
        cancel_grace_s: float,
        on_stuck: Callable[[], None],
        queued_us: int,
    ) -> None:
        """`on_stuck`: called when the replica goes on for `cancel_grace_s` after the try was cancelled. `queued_us`:
        microseconds for which the request had waited for the replica."""
        self._on_piece = on_piece
        self._reading = reading
        self._cancel_grace_s = cancel_grace_s
        self._on_stuck = on_stuck
        self._queued_us = queued_us
        self.sent = False
        self.started = False
        self.finished = False
        self.took_us = 0
        self._began_ns = 0
        self._first_piece_us: int | None = None

    async def run(self, target: Target, inference: Inference, on_finished: OnFinished) -> Outcome:
        """Sends the request and passes on what comes back; the times are this process's own. `on_finished`: see
        Exchange.

        Cancelled, it ends when the replica has let go of the request, or is gone.
        """
        self._began_ns = time.perf_counter_ns()
        exchange = target.link.request(inference.fields, inference.params, stream=self._on_piece is not None)
        self.sent = True
        exchange.on_finished = on_finished
        try:
            outcome = await exchange.run(partial(self._pass_on, exchange))
        except BaseException:
            if not exchange.finished:
                await self._wait_let_go(exchange)
            raise
        finally:
            self.took_us = self._elapsed_us()
        self.finished = True
        usage = replace(
            outcome.usage, first_piece_us=self._first_piece_us, took_us=self.took_us, queued_us=self._queued_us
        )
        return replace(outcome, usage=usage)

    async def _pass_on(self, exchange: Exchange, piece: str) -> None:
        if self._on_piece is not None:
            if not self.started:
                self.started = True
                self._first_piece_us = self._elapsed_us()
                self._reading.tokens = exchange.prompt_tokens
            await self._on_piece(piece)

    async def _wait_let_go(self, exchange: Exchange) -> None:
        """Returns when the replica has let go, however often this is cancelled: until then it is worked for."""
        timer = asyncio.get_running_loop().call_later(self._cancel_grace_s, self._on_stuck)
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


def killed_replicas(request: ModelRequest, death: Death | None) -> ModelyardError:
    """What a request gets that is not tried again. `death`: how the replica ended that held it alone, where known."""
    if death is None or death.lack is None:
        words = f"{MAX_DEATHS} replicas died while they held this request, the second held nothing else."
        return ReplicaLost(words, cause="tries", model=request.card.model_id)
    what = f"on this input, with which {MAX_DEATHS} replicas died, the second holding nothing else"
    figures = {"held_bytes": death.held_bytes, "limit_bytes": death.limit_bytes}
    known = {name: count for name, count in figures.items() if count is not None}
    return no_memory_for(known, what, cause=death.lack)
