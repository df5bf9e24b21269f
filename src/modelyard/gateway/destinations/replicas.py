"""From a parsed inference to its output: pick a replica, wait while it boots, retry where nothing was lost.

Owns the retry rule: a request nobody has begun to answer is tried on another replica; an answer that broke off in the
middle is broken off for the client too.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from modelyard.control.replicas import Supervised
from modelyard.control.routes import Routes, Target
from modelyard.errors import ReplicaLost
from modelyard.gateway.metering import Work
from modelyard.tasks.body import Inference

MAX_TRIES = 4
"""A request that sees this many replicas die is likely what kills them."""

Sink = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Result:
    """An inference's output and the microseconds a replica spent on it."""

    output: Any
    took_us: int


class Forwarder:
    """Sends inferences to replicas."""

    def __init__(self, routes: Routes, *, queue_wait_s: float) -> None:
        self._routes = routes
        self._queue_wait_s = queue_wait_s

    async def run(self, supervised: Supervised, inference: Inference, work: Work, sink: Sink | None = None) -> Result:
        """Runs the inference; with a `sink`, pieces of the output go there as they are made.

        `work` is told what it takes of a replica, however it ends; the time of one that died is nobody's.
        Cancelling it cancels the work on the replica. Raises what the model answered, QueueFull, DeadlineExceeded,
        ReplicaLost when no try succeeded or a stream broke off.
        """
        route = supervised.route
        deadline = time.monotonic() + self._queue_wait_s
        for _ in range(MAX_TRIES):
            target = await self._routes.acquire(route, max(0.001, deadline - time.monotonic()))
            attempt = Attempt(sink)
            try:
                return await attempt.run(target, inference)
            except ReplicaLost:
                attempt.took_us = 0
                self._routes.lose(route, target)
                if attempt.started:
                    raise
            finally:
                work.instance_id, work.took_us = target.replica_id, attempt.took_us
                route.finished += attempt.finished
                self._routes.release(route, target)
        raise ReplicaLost(
            f"The replica died {MAX_TRIES} times in a row while it held this request; see `modelyard logs`."
        )


class Attempt:
    """One try on one replica. `started`: the client has seen part of the answer; `finished`: it was answered;
    `took_us`: microseconds it held the replica."""

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink
        self.started = False
        self.finished = False
        self.took_us = 0

    async def run(self, target: Target, inference: Inference) -> Result:
        """Sends the request and passes on what comes back."""
        began = time.perf_counter_ns()
        exchange = target.link.request(inference.fields, inference.params, stream=self._sink is not None)
        try:
            outcome = await exchange.run(self._pass_on)
        finally:
            self.took_us = (time.perf_counter_ns() - began) // 1000
        self.finished = True
        return Result(outcome.output, self.took_us)

    async def _pass_on(self, piece: str) -> None:
        if self._sink is not None:
            self.started = True
            await self._sink(piece)
