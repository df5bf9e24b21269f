"""Inferences to this server's own replicas: pick one, wait while it boots, try another where nothing was lost.

Owns the retry rule: a request nobody has begun to answer is tried on another replica; an answer that broke off in the
middle is broken off for the client too.
"""

from __future__ import annotations

import time

from msgspec.structs import replace

from modelyard.control.plane import Plane
from modelyard.control.routes import Route, Routes, Target
from modelyard.errors import ReplicaLost
from modelyard.gateway.destinations.base import Destination, OnPiece, OnSpent
from modelyard.gateway.model_request import ModelRequest
from modelyard.protocol import Outcome
from modelyard.tasks.body import Inference

MAX_TRIES = 4
"""A request that sees this many replicas die is likely what kills them."""


class Replicas(Destination):
    """Sends inferences to the replicas of their account's cluster."""

    def __init__(self, plane: Plane, routes: Routes, *, queue_wait_s: float) -> None:
        """`queue_wait_s`: how long a request may wait for a replica in all."""
        self._plane = plane
        self._routes = routes
        self._queue_wait_s = queue_wait_s

    async def run(self, request: ModelRequest, on_piece: OnPiece | None, on_spent: OnSpent) -> Outcome:
        """See Destination. The time of a replica that died is nobody's.

        Raises UnknownCluster, QuotaExceeded, QueueFull, DeadlineExceeded, the cluster's failure, and ReplicaLost when
        no try succeeded or a stream broke off.
        """
        route = await self._route(request)
        deadline = time.monotonic() + self._queue_wait_s
        for _ in range(MAX_TRIES):
            target = await self._routes.acquire(route, max(0.001, deadline - time.monotonic()))
            attempt = Attempt(on_piece)
            try:
                return await attempt.run(target, request.inference)
            except ReplicaLost:
                attempt.took_us = 0
                self._routes.lose(route, target)
                if attempt.started:
                    raise
            finally:
                on_spent(target.replica_id, attempt.took_us)
                route.finished += attempt.finished
                self._routes.release(route, target)
        raise ReplicaLost(
            f"The replica died {MAX_TRIES} times in a row while it held this request.",
            cause="tries",
            model=request.card.model_id,
        )

    async def _route(self, request: ModelRequest) -> Route:
        account_id, model_id = request.key.account_id, request.card.model_id
        if request.makes_cluster:
            return await self._plane.ensure_route(account_id, model_id)
        return await self._plane.get_route(account_id, model_id)


class Attempt:
    """One try on one replica. `started`: the client has seen part of the answer; `finished`: it was answered;
    `took_us`: microseconds it held the replica."""

    def __init__(self, on_piece: OnPiece | None) -> None:
        self._on_piece = on_piece
        self.started = False
        self.finished = False
        self.took_us = 0
        self._began_ns = 0
        self._first_piece_us: int | None = None

    async def run(self, target: Target, inference: Inference) -> Outcome:
        """Sends the request and passes on what comes back; the times are this process's own."""
        self._began_ns = time.perf_counter_ns()
        exchange = target.link.request(inference.fields, inference.params, stream=self._on_piece is not None)
        try:
            outcome = await exchange.run(self._pass_on)
        finally:
            self.took_us = self._elapsed_us()
        self.finished = True
        times = replace(outcome.usage, first_piece_us=self._first_piece_us, took_us=self.took_us)
        return replace(outcome, usage=times)

    async def _pass_on(self, piece: str) -> None:
        if self._on_piece is not None:
            if not self.started:
                self.started = True
                self._first_piece_us = self._elapsed_us()
            await self._on_piece(piece)

    def _elapsed_us(self) -> int:
        return (time.perf_counter_ns() - self._began_ns) // 1000
