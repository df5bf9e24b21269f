"""Requests to one worker, alone or many at once, and how long they take. Owns how many are under way; knows no task
and decides nothing by what it finds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.control.targets import Target
from modelyard.tasks.base import Size

MOST_WAVES = 3
"""So many times a full batch at most."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How one request went. `pieces`: what was streamed, each with its seconds since the request."""

    seconds: float
    pieces: tuple[tuple[float, str], ...] = ()


Ask = Callable[[Mapping[str, Any], Mapping[str, Any], bool], Awaitable[Reply]]
"""Sends fields and params, streamed or not. Raises what the model answered; ReplicaLost when the worker has died."""
Clock = Callable[[], float]
"""Seconds that pass."""


def ask_over(target: Target) -> Ask:
    """Asks one worker, whatever slots it has. Cancelling it cancels the work there."""

    async def ask(fields: Mapping[str, Any], params: Mapping[str, Any], stream: bool) -> Reply:
        began = time.perf_counter()
        pieces = []

        async def note(piece: str) -> None:
            pieces.append((time.perf_counter() - began, piece))

        await target.link.request(dict(fields), dict(params), stream=stream).run(note)
        return Reply(time.perf_counter() - began, tuple(pieces))

    return ask


async def keep_busy(ask: Ask, size: Size, batch: int, until: float, clock: Clock, *, joins: bool = False) -> float:
    """Requests per second with `batch` of them running together. One wave at least, MOST_WAVES at most, no new one
    after `until`. `joins`: the worker begins requests while others run. Raises what the model answers."""
    return await (_keep_slots_busy if joins else _fill_batches)(ask, size, batch, until, clock)


async def _keep_slots_busy(ask: Ask, size: Size, batch: int, until: float, clock: Clock) -> float:
    """As many clients as slots: each asks again as soon as it has its answer."""
    began = clock()

    async def keep_asking() -> int:
        for asked in range(MOST_WAVES):
            if asked and clock() >= until:
                return asked
            await ask(size.fields, size.params, False)
        return MOST_WAVES

    clients = [asyncio.create_task(keep_asking(), name=f"benchmark client {number}") for number in range(batch)]
    try:
        return sum(await asyncio.gather(*clients)) / max(clock() - began, 1e-6)
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def _fill_batches(ask: Ask, size: Size, batch: int, until: float, clock: Clock) -> float:
    """A worker without slots batches what has arrived while it was busy. So one request runs ahead, and from then on a
    whole wave waits whenever the one before is done; no batch is larger than a wave."""

    def send(count: int) -> asyncio.Future[list[Reply]]:
        return asyncio.gather(*(ask(size.fields, size.params, False) for _ in range(count)))

    running, waiting = send(1), send(batch)
    waves = 0
    try:
        await running
        began = clock()
        while True:
            more = waves + 1 < MOST_WAVES and clock() < until
            running, waiting = waiting, send(batch if more else 0)
            await running
            waves += 1
            if not more:
                return waves * batch / max(clock() - began, 1e-6)
    finally:
        for wave in (running, waiting):
            wave.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
