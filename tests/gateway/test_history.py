"""What is written down for charts: each minute once it is over, and nothing of what is idle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from modelyard.gateway.history import HistoryRecorder
from modelyard.gateway.metrics import InferenceTallies
from modelyard.protocol import Usage
from modelyard.records.history import HOUR_S, MINUTE_S, ClusterPoint
from tests.clock import START
from tests.control.control_plane import SMALL, SMALL_BYTES, TWIN, ControlPlane, MakeControl
from tests.gateway.conftest import Gateway
from tests.gateway.http_client import HttpClient


def recorder_of(control: ControlPlane, tallies: InferenceTallies) -> HistoryRecorder:
    return HistoryRecorder(tallies, control.plane, control.journal, control.store.history, control.clock)


async def written(control: ControlPlane, model_id: str = SMALL, step_s: int = MINUTE_S) -> Sequence[ClusterPoint]:
    await control.journal.flush()
    return control.store.history.list_clusters(control.account, model_id, step_s, START - timedelta(days=1), START)


async def test_a_minute_is_written_once_it_is_over(make_control: MakeControl) -> None:
    tallies = InferenceTallies()
    async with make_control() as control:
        recorder = recorder_of(control, tallies)
        await control.up()
        tallies.note("v2", SMALL, 200, 0.02, Usage(queued_us=4000), control.account)
        tallies.note("v2", SMALL, 503, 1.0, None, control.account)
        tallies.note("v2", SMALL, 429, 1.0, None, control.account)
        tallies.note("v2", SMALL, 200, 0.02, Usage(), control.other_account)
        await recorder.look()
        assert await written(control) == []

        control.clock.advance(60)
        await recorder.look()

        (point,) = await written(control)
        assert (point.at, point.requests, point.failed, point.waited_us) == (START, 3, 1, 4000)
        assert sum(point.latency) == 1
        assert (point.replicas, point.memory_bytes, point.queued) == (1, control.reserved_bytes(), 0)
        (node,) = control.store.history.list_nodes(MINUTE_S, START, START)
        assert (node.node, node.device, node.evictions) == ("fake", "", 0)
        assert node.reserved_bytes == control.reserved_bytes()


async def test_what_is_idle_leaves_no_row(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(desired=0)
        recorder = recorder_of(control, InferenceTallies())
        unwritten = control.journal.unwritten
        for _ in range(3):
            await recorder.look()
            recorder.write()
        assert control.journal.unwritten == unwritten
        assert await written(control) == []


async def test_the_most_that_waited_and_an_eviction_are_seen(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=SMALL_BYTES) as control:
        recorder = recorder_of(control, InferenceTallies())
        await control.up()
        held_bytes = control.reserved_bytes()
        waiting = [await control.ask(TWIN) for _ in range(3)]
        control.step()
        await recorder.look()
        for each in waiting:
            await each.done()
        await recorder.look()
        recorder.write()
        (point,) = await written(control, TWIN)
        assert point.queued == 3
        (node,) = control.store.history.list_nodes(MINUTE_S, START, START)
        assert node.evictions == 1
        (eviction,) = control.plane.evictions()
        assert (eviction.model_id, eviction.need.memory_bytes) == (SMALL, held_bytes)
        assert f"to make room for {TWIN}" in eviction.reason


async def test_an_hour_that_is_over_is_rolled_up(make_control: MakeControl) -> None:
    tallies = InferenceTallies()
    async with make_control() as control:
        recorder = recorder_of(control, tallies)
        for _ in range(62):
            tallies.note("v2", SMALL, 200, 0.02, Usage(), control.account)
            control.clock.advance(60)
            await recorder.look()
        (hour,) = await written(control, step_s=HOUR_S)
        assert (hour.at, hour.requests) == (START, 60)


async def test_an_inference_is_counted_for_its_account(gateway: Gateway) -> None:
    await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    await gateway.ask(HttpClient({"text": "hello"}, key="wrong"))
    ((owner, tally),) = gateway.tallies.take_clusters().items()
    assert owner == (gateway.control.store.accounts.ensure("ada", START).id, SMALL)
    assert (tally.requests, tally.failed, sum(tally.latency.counts)) == (1, 0, 1)
    assert gateway.tallies.take_clusters() == {}
