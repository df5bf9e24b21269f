"""What a trace tells of an inference's way through its destination. Owns the spans' names below the request's."""

from __future__ import annotations

from modelyard.control.targets import Target
from modelyard.protocol import Outcome, ReplicaTimes
from modelyard.telemetry.spans import Kind, Span


def end_queue(queue: Span, target: Target) -> None:
    """The wait for a replica is over. Where it has become ready meanwhile, its boot was waited for."""
    queue.end()
    ready_ns = int(target.ready_at * 1e9)
    if ready_ns > queue.began_ns:
        queue.open("boot", began_ns=queue.began_ns).end(min(ready_ns, queue.ended_ns))


def open_try(request: Span, target: Target) -> Span:
    """A replica is going to be asked."""
    span = request.open("replica", Kind.CLIENT)
    span.note({"modelyard.replica_id": target.replica_id})
    return span


def end_try(span: Span, outcome: Outcome) -> None:
    """The replica has answered."""
    span.end()
    first_piece_us = outcome.usage.first_piece_us
    span.note({"modelyard.first_piece_s": None if first_piece_us is None else first_piece_us / 1e6})
    if outcome.times is not None:
        place_times(span, outcome.times)


def place_times(span: Span, times: ReplicaTimes) -> None:
    """Puts what a worker tells of its times within the span of who asked it: their clocks need not agree, and what is
    left over, on the way there and back, counts half before and half after. A worker that tells of more is cut."""
    spare_ns = max(0, span.ended_ns - span.began_ns - (times.waited_us + times.worked_us) * 1000)
    came_ns = span.began_ns + spare_ns // 2
    begun_ns = min(came_ns + times.waited_us * 1000, span.ended_ns)
    span.open("batch wait", began_ns=came_ns).end(begun_ns)
    model = span.open("model", began_ns=begun_ns)
    model.end(min(begun_ns + times.worked_us * 1000, span.ended_ns))
    model.note({"modelyard.batch_size": times.batch})


def open_provider(request: Span, provider: str, model: str) -> Span:
    """A provider is going to be asked."""
    span = request.open("provider", Kind.CLIENT)
    span.note({"gen_ai.provider.name": provider, "gen_ai.request.model": model})
    return span
