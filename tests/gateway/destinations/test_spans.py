"""What a trace tells of an inference's way: its wait, a boot it waited for, each replica it was sent to."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from modelyard.errors import ReplicaLost
from modelyard.gateway.destinations.spans import place_times
from modelyard.protocol import Outcome, ReplicaTimes, Usage
from modelyard.telemetry.context import new_trace_id
from modelyard.telemetry.spans import Span, Trace
from tests.gateway.destinations.test_replicas import ANSWER, DIES, Inference, ScriptedLink, inference

__all__ = ["inference"]


def traced(inference: Inference) -> Trace:
    """The trace of its request from now on."""
    trace = Trace("inference", new_trace_id(), "", lambda _: None)
    inference.request = replace(inference.request, span=trace.root)
    return trace


def named(trace: Trace, name: str) -> list[Span]:
    return [span for span in trace.spans if span.name == name]


async def test_each_try_is_a_span_and_the_one_that_failed_says_so(inference: Inference) -> None:
    trace = traced(inference)
    await inference.run(ScriptedLink(DIES), ScriptedLink(ANSWER))
    trace.end()
    failed, answered = named(trace, "replica")
    assert (failed.error, answered.error) == (ReplicaLost.__name__, "")
    assert [span.attributes["modelyard.replica_id"] for span in (failed, answered)] == ["in_1", "in_2"]
    first, second = named(trace, "queue")
    assert first.ended_ns <= failed.began_ns <= failed.ended_ns <= second.began_ns <= second.ended_ns
    assert named(trace, "boot") == []


async def test_a_boot_that_was_waited_for_is_part_of_the_wait(inference: Inference) -> None:
    trace = traced(inference)
    running = asyncio.create_task(inference.run())
    while not inference.route.waiting:
        await asyncio.sleep(0)
    target = {"in_1": (ScriptedLink(ANSWER), 1)}
    inference.gateway.control.routes.publish(inference.route.cluster_id, target)
    (ready,) = inference.route.targets.values()
    (queue,) = named(trace, "queue")
    ready.ready_at = queue.began_ns / 1e9 + 1e-3  # by the clock of the test, which stands
    await running
    (boot,) = named(trace, "boot")
    assert (boot.parent_id, boot.began_ns) == (queue.id, queue.began_ns)
    assert queue.began_ns < boot.ended_ns <= queue.ended_ns


async def test_what_the_worker_tells_lies_within_the_replicas_span(inference: Inference) -> None:
    trace = traced(inference)
    usage = Usage(new_tokens=1)
    outcome = Outcome("done", usage, times=ReplicaTimes(waited_us=0, worked_us=10**9, batch=3))
    await inference.run(ScriptedLink("do", outcome), stream=True)
    (replica,), (waited,), (model,) = (named(trace, name) for name in ("replica", "batch wait", "model"))
    assert {waited.parent_id, model.parent_id} == {replica.id}
    assert model.attributes == {"modelyard.batch_size": 3}
    assert replica.began_ns <= waited.began_ns <= waited.ended_ns == model.began_ns
    assert model.ended_ns == replica.ended_ns
    assert 0 <= replica.attributes["modelyard.first_piece_s"] < 60


@pytest.mark.parametrize(
    ("waited_us", "worked_us", "expected"),
    [
        (10, 60, (15_000, 25_000, 85_000)),  # 30 µs on the way there and back
        (0, 100, (0, 0, 100_000)),
        (50, 1000, (0, 50_000, 100_000)),
        (1000, 1000, (0, 100_000, 100_000)),
    ],
)
def test_times_of_another_clock_are_put_between_those_of_ours(
    waited_us: int, worked_us: int, expected: tuple[int, int, int]
) -> None:
    trace = Trace("inference", new_trace_id(), "", lambda _: None)
    replica = trace.root.open("replica", began_ns=1_000_000)
    replica.end(1_100_000)
    place_times(replica, ReplicaTimes(waited_us, worked_us, 1))
    waited, model = trace.spans[-2:]
    assert tuple(at - 1_000_000 for at in (waited.began_ns, model.began_ns, model.ended_ns)) == expected
    assert waited.ended_ns == model.began_ns
