"""What the standby is for: a nursery that dies is followed at once by another, whatever else dies with it."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil
import uvloop

from modelyard.engine.base import Phase
from modelyard.engine.local import LocalEngine
from modelyard.engine.standby_process import RESTART_AFTER_MAX_S, STEADY_S, BackOff
from tests.engine.harness import Harness, ask, echo_spec, eventually, is_alive
from tests.engine.test_local import local, nursery_of
from tests.peaks import total_bytes

QUICK_S = 1.0


def standby_of(harness: Harness) -> int:
    assert isinstance(harness.engine, LocalEngine)
    assert harness.engine.standby_pid is not None
    return harness.engine.standby_pid


async def kill_nursery(harness: Harness) -> int:
    """Once there is one; its pid."""
    assert isinstance(harness.engine, LocalEngine)
    engine = harness.engine
    await eventually(lambda: engine.nursery_pid is not None)
    pid = nursery_of(harness)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: engine.nursery_pid != pid)
    return pid


async def test_a_nursery_that_is_killed_is_followed_at_once_by_another(real: Harness) -> None:
    await real.boot()
    standby = standby_of(real)
    killed = set()
    for _ in range(2):
        killed.add(await kill_nursery(real))
        started = time.monotonic()
        link = await real.boot()
        # Importing the model libraries takes seconds of work, however idle the machine is.
        assert psutil.Process(nursery_of(real)).cpu_times().user < QUICK_S, time.monotonic() - started
        assert await ask(link, "Once upon a time", max_new_tokens=1)
    assert len(killed) == 2
    assert standby_of(real) == standby


def test_launches_told_to_a_nursery_that_is_dead_already_are_settled() -> None:
    """On the loop that servers run on, which closes a connection at once that cannot be written to."""

    async def launch_and_boot() -> None:
        async with local() as harness:
            engine = harness.engine
            assert isinstance(engine, LocalEngine)
            await harness.boot()
            killed = psutil.Process(nursery_of(harness))
            killed.kill()
            killed.wait(60.0)  # and the engine with it: it has not heard of that when it launches
            for _ in range(3):
                harness.launch(echo_spec())
            await eventually(lambda: engine.nursery_pid not in {None, killed.pid})
            assert await ask(await harness.boot(), "echo")

    uvloop.run(launch_and_boot())


async def test_the_standby_costs_little_memory(real: Harness) -> None:
    """What it shares with the nursery counts once: its own are the pages that either has written to since."""
    await real.boot()
    nursery, standby = nursery_of(real), standby_of(real)
    assert total_bytes([nursery, standby]) < 1.2 * psutil.Process(nursery).memory_info().rss


async def test_replicas_outlive_the_standby_and_another_takes_its_place() -> None:
    async with local() as harness:
        link = await harness.boot()
        standby, nursery = standby_of(harness), nursery_of(harness)
        engine = harness.engine
        assert isinstance(engine, LocalEngine)
        os.kill(standby, signal.SIGKILL)
        await eventually(lambda: engine.standby_pid not in (None, standby))
        assert await ask(link, "hello") == "hello"
        assert await ask(await harness.boot(), "hello") == "hello"
        assert nursery_of(harness) == nursery
        await kill_nursery(harness)
        assert await ask(await harness.boot(), "hello") == "hello"
        await harness.clear()


async def test_both_killed_are_followed_by_others() -> None:
    async with local() as harness:
        link = await harness.boot()
        replica_id = harness.id_of(link)
        os.kill(standby_of(harness), signal.SIGKILL)
        await kill_nursery(harness)
        sighting = await harness.until_phase(replica_id, Phase.GONE)
        assert sighting.reason in ("the nursery was killed by SIGKILL", "the nursery ended")
        assert await ask(await harness.boot(), "hello") == "hello"


async def test_launches_while_the_nursery_dies_are_settled() -> None:
    async with local() as harness:
        await harness.boot()
        specs = [echo_spec() for _ in range(20)]
        for spec in specs:
            harness.launch(spec)
        await asyncio.sleep(0)
        await kill_nursery(harness)
        settled = (Phase.READY, Phase.GONE)
        await harness.until(lambda: all(harness.engine.sightings()[s.replica_id].phase in settled for s in specs))
        last = harness.engine.sightings()[specs[-1].replica_id]
        assert last.phase is Phase.READY, "it was not even asked for when the nursery died"


async def test_closing_ends_the_nursery_and_the_standby_however_far_they_are() -> None:
    async with local() as harness:
        engine = harness.engine
        assert isinstance(engine, LocalEngine)
        await eventually(lambda: engine.standby_pid is not None)
        early = standby_of(harness)
    async with local() as harness:
        await harness.boot()
        late = [standby_of(harness), nursery_of(harness)]
    for pid in [early, *late]:
        await eventually(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]


def test_quick_deaths_double_the_wait_up_to_a_bound_and_a_steady_life_ends_that() -> None:
    back_off = BackOff(0.02)
    assert [back_off.next_s(1.0) for _ in range(3)] == [0.04, 0.08, 0.16]
    assert max(back_off.next_s(1.0) for _ in range(20)) == RESTART_AFTER_MAX_S
    assert back_off.next_s(STEADY_S) == 0.02
    assert [BackOff(0.02, steady_s=each).next_s(2.0) for each in (1.0, 3.0)] == [0.02, 0.04]
