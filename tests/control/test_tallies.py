"""What metrics tell of control: memory by node, whoever has it reserved, and what replicas have done."""

from __future__ import annotations

from modelyard.control.placement import MemoryHolder
from modelyard.control.replicas import BootSettings
from modelyard.control.tallies import MemorySums, MemoryUse, ModelLoad, NodeMemory, ReplicaTally, add_loads
from modelyard.engine.base import Device, Node, Place
from modelyard.engine.link import Link, ReplicaLink
from modelyard.protocol import CacheUse, Work
from modelyard.records.models import Measurement
from modelyard.tallies import BATCH_SIZES
from modelyard.units import GIB
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES
from tests.control.control_plane import SMALL, SMALL_BYTES, ControlPlane, MakeControl

DEADLINE_S = 200.0
SHARE = (3 * GIB - DEVICE_CONTEXT_BYTES) // 2 + DEVICE_CONTEXT_BYTES
"""Of 3 GB on each of two devices."""
NONE = [0] * (len(BATCH_SIZES) + 1)


def test_all_that_is_reserved_on_a_node_is_counted() -> None:
    jobs = [MemoryHolder(name, name, 10, None, place=Place("here")) for name in ("one", "two")]
    sums = MemorySums({})
    for job in jobs:
        sums.add_other(job)
    assert sums.of([Node("here", 100), Node("there", 50)]) == {
        "here": NodeMemory(100, 20, 0),
        "there": NodeMemory(50, 0, 0),
    }


async def test_what_lies_on_devices_is_told_of_each(make_control: MakeControl) -> None:
    on_two = MemoryHolder("job", "job", 5, None, device_bytes=3 * GIB, place=Place("gpu", ("cuda:0", "cuda:1")))
    devices = (Device("cuda:0", 10 * GIB), Device("cuda:1", 20 * GIB, accepting=False))
    node = Node("gpu", 8 * GIB, devices)
    measured = {SMALL: Measurement(SMALL_BYTES, device_bytes=6 * GIB)}
    async with make_control(nodes=[node], measured=measured) as control:
        control.engine.replica_device_bytes = 4 * GIB
        managed = await control.up()
        sums = MemorySums(control.engine.sightings())
        sums.add(managed)
        sums.add_other(on_two)
    found = sums.of([node])["gpu"]
    assert (found.budget, found.reserved, found.replicas) == (8 * GIB, SMALL_BYTES + 5, 1)
    assert found.devices == {
        "cuda:0": MemoryUse(10 * GIB, 6 * GIB + SHARE, 4 * GIB, True, 1),
        "cuda:1": MemoryUse(20 * GIB, SHARE, 0, False, 0),
    }


async def answer(link: ReplicaLink) -> None:
    """Has a replica answer one request, and tell of it."""
    assert isinstance(link, Link)
    await link.request({"text": "hello"}, {}, stream=False).run()
    assert await link.ping(DEADLINE_S)


async def tally_of(control: ControlPlane) -> tuple[list[int], float]:
    """The batches of SMALL's replicas by size, and the requests in them."""
    batches = dict((await control.plane.figures()).tallies.replicas.items())[SMALL].batches
    return batches.counts, batches.total


async def test_batches_are_counted_once_and_outlive_their_replica(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        replica = control.only(managed)
        assert replica.link is not None
        await answer(replica.link)
        for _ in range(2):
            assert await tally_of(control) == ([1, *NONE[1:]], 1)
        await answer(replica.link)
        control.engine.die(replica.id)
        await control.until(lambda: replica.id not in managed.replicas)
        assert await tally_of(control) == ([2, *NONE[1:]], 2)


async def test_the_batches_of_a_jobs_worker_are_not_counted(make_control: MakeControl) -> None:
    async with make_control() as control:
        trial = await control.plane.start_trial(control.account, SMALL, BootSettings(billed=False))
        target = await control.acquire(trial.route)
        await answer(target.link)
        control.routes.release(trial.route, target)
        assert await tally_of(control) == (NONE, 0)


def test_counts_that_shrink_add_nothing() -> None:
    tally, first = ReplicaTally(), Work((2, *NONE[1:]), 2, 8)
    tally.add_work(Work(), first)
    tally.add_work(first, Work((1, 1, *NONE[2:]), 1, 4))
    tally.add_work(Work(), Work((1,), 1, 4))
    assert (tally.batches.counts, tally.batches.total, tally.places) == ([2, 1, *NONE[2:]], 2, 8)


def test_the_caches_of_a_models_replicas_are_added() -> None:
    with_cache, other = ModelLoad(0, 0, {}, CacheUse(1, 2, 10)), ModelLoad(0, 0, {}, CacheUse(3, 0, 10))
    without = ModelLoad(0, 0, {})
    assert add_loads(add_loads(with_cache, without), other).cache == CacheUse(4, 2, 20)
    assert add_loads(without, without).cache is None
