"""The shapes of charts: what a cluster and a machine did, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated, Literal

from modelyard.clock import iso
from modelyard.gateway.shapes.base import Shape, described, moment
from modelyard.records.history import HOUR_S, MINUTE_S, ClusterPoint, NodePoint, percentile_s, roll_up

Period = Literal["hour", "day", "month"]


@dataclass(frozen=True, slots=True)
class Span:
    """How far back a chart goes, what its points are made of, and the step that each stands for."""

    back: timedelta
    stored_step_s: int
    step_s: int


SPANS: dict[Period, Span] = {
    "hour": Span(timedelta(hours=1), MINUTE_S, MINUTE_S),
    "day": Span(timedelta(days=1), MINUTE_S, 5 * MINUTE_S),
    "month": Span(timedelta(days=30), HOUR_S, HOUR_S),
}


PERIOD = described(
    "How far back: an hour in steps of a minute, a day in steps of five, a month in steps of an hour.",
    accepted="hour, day or month",
)


class PeriodQuery(Shape, frozen=True, kw_only=True):
    """How far back."""

    period: Annotated[Period, PERIOD] = "hour"


class HistoryQuery(PeriodQuery, frozen=True, kw_only=True):
    """Of which model, and how far back."""

    model: Annotated[str, described("The model, org/name.")]


class AccountHistoryQuery(HistoryQuery, frozen=True, kw_only=True):
    """Of whose cluster."""

    account: Annotated[str, described("The account's name, or its id.")]


class Latency(Shape, frozen=True, kw_only=True):
    """How long answers took, in seconds; known to a fifth."""

    p50: Annotated[float, described("Half of them took no longer.")]
    p90: Annotated[float, described("Nine of ten took no longer.")]
    p99: Annotated[float, described("99 of 100 took no longer.")]


class HistoryPoint(Shape, frozen=True, kw_only=True):
    """What a cluster did in one step."""

    at: Annotated[str, moment("When the step began.")]
    requests: Annotated[int, described("Requests that were over.")]
    failed: Annotated[int, described("Those of them that ended in a fault of the server's (status 500 and more).")]
    latency: Annotated[Latency | None, described("How long those took that were answered; null: none was.")]
    wait_seconds: Annotated[float | None, described("How long a request waited for an instance, on average.")]
    in_flight: Annotated[int, described("The most that instances worked on at once, looked at every ten seconds.")]
    queued: Annotated[int, described("The most that waited for an instance at once.")]
    instances: Annotated[int, described("The most instances that there were at once.")]
    memory_bytes: Annotated[int, described("The most memory that was reserved for them together.")]


class History(Shape, frozen=True, kw_only=True):
    """What a cluster did, step by step. A step without a point: it had no instance and no request."""

    model_id: Annotated[str, described("The model.")]
    begin: Annotated[str, moment("When it begins.")]
    end: Annotated[str, moment("When it ends: the last minute that is over, and what came of it.")]
    step_seconds: Annotated[int, described("What each point stands for, in seconds.")]
    points: Annotated[Sequence[HistoryPoint], described("Oldest first.")]


class NodeHistoryPoint(Shape, frozen=True, kw_only=True):
    """What a machine or an accelerator held in one step."""

    at: Annotated[str, moment("When the step began.")]
    memory_bytes: Annotated[int, described("What replicas may hold there.")]
    reserved_bytes: Annotated[int, described("The most that was reserved for them.")]
    held_bytes: Annotated[int, described("The most that they were seen to hold.")]
    evictions: Annotated[int, described("Instances that had to make room for others; of machines, not accelerators.")]


class NodeHistory(Shape, frozen=True, kw_only=True):
    """What a machine or an accelerator held, step by step. A step without a point: nothing was reserved there."""

    node: Annotated[str, described("The machine.")]
    device: Annotated[str | None, described("The accelerator; null: the machine's own memory.")]
    points: Annotated[Sequence[NodeHistoryPoint], described("Oldest first.")]


class NodeHistories(Shape, frozen=True, kw_only=True):
    """What machines held."""

    begin: Annotated[str, moment("When it begins.")]
    end: Annotated[str, moment("When it ends.")]
    step_seconds: Annotated[int, described("What each point stands for, in seconds.")]
    nodes: Annotated[Sequence[NodeHistory], described("By machine and accelerator.")]


def show_history(model_id: str, points: Iterable[ClusterPoint], span: Span, now: datetime) -> History:
    """A cluster's past as clients read it."""
    return History(
        model_id=model_id,
        begin=iso(now - span.back),
        end=iso(now),
        step_seconds=span.step_s,
        points=[show_point(point) for point in roll_up(points, span.step_s)],
    )


def show_point(point: ClusterPoint) -> HistoryPoint:
    """One step of it."""
    found = [percentile_s(point.latency, percent) for percent in (50, 90, 99)]
    p50, p90, p99 = (None if each is None else round(each, 4) for each in found)
    latency = None if p50 is None or p90 is None or p99 is None else Latency(p50=p50, p90=p90, p99=p99)
    return HistoryPoint(
        at=iso(point.at),
        requests=point.requests,
        failed=point.failed,
        latency=latency,
        wait_seconds=round(point.waited_us / 1e6 / sum(point.latency), 6) if sum(point.latency) else None,
        in_flight=point.in_flight,
        queued=point.queued,
        instances=point.replicas,
        memory_bytes=point.memory_bytes,
    )


def show_node_histories(points: Iterable[NodePoint], span: Span, now: datetime) -> NodeHistories:
    """Machines' past as the operator reads it."""
    by_place = groupby(roll_up(points, span.step_s), key=lambda point: point.key)
    return NodeHistories(
        begin=iso(now - span.back),
        end=iso(now),
        step_seconds=span.step_s,
        nodes=[
            NodeHistory(node=node, device=device or None, points=[show_node_point(point) for point in group])
            for (node, device), group in by_place
        ],
    )


def show_node_point(point: NodePoint) -> NodeHistoryPoint:
    """One step of it."""
    return NodeHistoryPoint(
        at=iso(point.at),
        memory_bytes=point.budget_bytes,
        reserved_bytes=point.reserved_bytes,
        held_bytes=point.held_bytes,
        evictions=point.evictions,
    )
