"""Inferences to the providers of closed models, by way of the process that asks them.

Owns what such a try is charged for. Trying again is that process's: it knows what the provider has said.
"""

from __future__ import annotations

import time
from typing import Any

from msgspec.structs import replace

from modelyard.engine.provider_process import ProviderProcess
from modelyard.errors import ProviderFailed, ReplicaLost
from modelyard.gateway.destinations.base import Destination, OnPiece, OnSpent
from modelyard.gateway.destinations.spans import open_provider
from modelyard.gateway.model_request import ModelRequest
from modelyard.protocol import Outcome, Usage
from modelyard.telemetry.spans import Span

CHARACTERS_PER_TOKEN = 4
"""By which what a provider has read is estimated, where its stream broke off before it said."""


class ProviderDestination(Destination):
    """Sends inferences of closed models to their providers."""

    def __init__(self, process: ProviderProcess) -> None:
        self._process = process

    async def run(self, request: ModelRequest, on_piece: OnPiece | None, on_spent: OnSpent) -> Outcome:
        """See Destination. A stream that breaks off is charged by an estimate: providers tell their counts at its end.

        Raises ProviderRefused, ProviderKeyRefused, ProviderBusy, ProviderFailed, InvalidRequest, DeadlineExceeded.
        """
        attempt = Attempt(on_piece)
        closed = request.card.closed
        assert closed is not None  # noqa: S101 - nothing else is sent here
        span = None if request.span is None else open_provider(request.span, closed.provider.name, closed.name)
        try:
            async with self._process.link() as link:
                request.deadline.found_replica(time.monotonic())
                exchange = link.request(fields_of(request, span), {}, stream=on_piece is not None)
                outcome = await exchange.run(attempt.pass_on)
        except BaseException as error:
            on_spent(instance_of(closed.provider.name), attempt.estimate(request))
            if span is not None:
                span.end(error=error)
            if isinstance(error, ReplicaLost):
                words = f"{closed.provider.name} was being asked when the process that asks providers ended."
                raise ProviderFailed(words, provider=closed.provider.name, cause="process") from error
            raise
        usage = attempt.timed(outcome.usage)
        on_spent(instance_of(closed.provider.name), usage)
        if span is not None:
            span.end()
        return replace(outcome, usage=usage)


class Attempt:
    """One request while it is answered."""

    def __init__(self, on_piece: OnPiece | None) -> None:
        self._on_piece = on_piece
        self._began_ns = time.perf_counter_ns()
        self._first_piece_us: int | None = None
        self._pieces = 0

    async def pass_on(self, piece: str) -> None:
        """Takes a piece of the answer."""
        if self._first_piece_us is None:
            self._first_piece_us = self._elapsed_us()
        self._pieces += 1
        if self._on_piece is not None:
            await self._on_piece(piece)

    def timed(self, told: Usage) -> Usage:
        """What the provider has counted, with the times that were measured here."""
        return replace(told, first_piece_us=self._first_piece_us, took_us=self._elapsed_us(), queued_us=0)

    def estimate(self, request: ModelRequest) -> Usage:
        """What it has come to, when nobody said. Nothing, where nothing was answered: providers charge nothing then."""
        took_us = self._elapsed_us()
        if not self._pieces:
            return Usage(took_us=took_us)
        read = count_characters(request.inference.fields) // CHARACTERS_PER_TOKEN
        return Usage(prompt_tokens=read, new_tokens=self._pieces, took_us=took_us)

    def _elapsed_us(self) -> int:
        return (time.perf_counter_ns() - self._began_ns) // 1000


def fields_of(request: ModelRequest, span: Span | None = None) -> dict[str, Any]:
    """What the process is asked: see `providers.asked.Asked`. `span`: of this try."""
    closed, key = request.card.closed, request.provider_key
    assert closed is not None and key is not None  # noqa: S101, PT018 - it was read so
    provider = closed.provider
    return {
        "task": request.task.id,
        "provider": provider.name,
        "prefix": provider.prefix,
        "model": closed.name,
        "key": key.reveal(),
        "fields": request.inference.fields,
        "params": request.inference.params,
        "within_s": max(0.001, request.deadline.ends_at - time.monotonic()),
        "url": provider.url_for(request.task.id),
        "takes_top_k": provider.takes_top_k,
        "traceparent": "" if span is None else str(span.context),
    }


def instance_of(provider: str) -> str:
    """What stands in records where the instance does that did the work."""
    return f"provider:{provider}"


def count_characters(value: Any) -> int:
    """Characters of all texts in a request's fields."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(count_characters(each) for each in value.values())
    return sum(count_characters(each) for each in value) if isinstance(value, list) else 0
