"""What jobs ask of the control plane: memory for other work, and workers of their own."""

import asyncio

import pytest

from modelyard.control.placement import Never, Placed, Wait
from modelyard.control.replicas import BootSettings
from modelyard.engine.base import Need
from modelyard.errors import ModelyardError, UnknownCluster
from modelyard.units import GIB
from tests.control.yard import BIG, SMALL, SMALL_BYTES, MakeYard

ROOM = BootSettings(max_batch=3, reserve_bytes=2 * SMALL_BYTES, limit_bytes=5 * SMALL_BYTES, billed=False)


async def test_a_trial_is_one_worker_with_the_settings_it_was_given(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        trial = await yard.plane.start_trial(yard.account, SMALL, ROOM)
        target = await yard.acquire(trial.route)
        (spec,) = yard.engine.launched
        assert (spec.max_batch, spec.memory_limit_bytes) == (3, 5 * SMALL_BYTES)
        assert yard.reserved_bytes() == 2 * SMALL_BYTES
        (life,) = await yard.ledger()
        assert (life.cluster_id, life.account_id, life.tariff) == (trial.id, yard.account, None)
        figures = await yard.plane.get_trial(trial.id)
        assert figures.peak_bytes == yard.engine.replica_memory_bytes
        yard.routes.release(trial.route, target)


async def test_a_trial_is_no_cluster_of_its_account(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        trial = await yard.plane.start_trial(yard.account, SMALL, ROOM)
        assert await yard.plane.list(yard.account) == []
        assert await yard.plane.find(yard.account, SMALL) is None
        await yard.put(BIG)
        yard.routes.release(trial.route, await yard.acquire(trial.route))
        assert [each.cluster.model_id for each in await yard.plane.list(yard.account)] == [BIG]


async def test_a_trial_that_ends_leaves_nothing(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        trial = await yard.plane.start_trial(yard.account, SMALL, ROOM)
        yard.routes.release(trial.route, await yard.acquire(trial.route))
        ending = asyncio.create_task(yard.plane.end_trial(trial.id))
        await yard.until(ending.done)
        await ending
        await yard.plane.end_trial(trial.id)
        assert yard.desired.all() == []
        assert yard.store.clusters.list() == []
        with pytest.raises(UnknownCluster):
            await yard.plane.get_trial(trial.id)


async def test_a_trial_outlives_what_others_change(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        trial = await yard.plane.start_trial(yard.account, SMALL, ROOM)
        yard.routes.release(trial.route, await yard.acquire(trial.route))
        await yard.put(SMALL)
        await yard.delete(SMALL)
        assert len(trial.route.targets) == 1


async def test_a_trial_whose_worker_cannot_load_says_so(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.refuse_next("no such file")
        trial = await yard.plane.start_trial(yard.account, SMALL, ROOM)
        with pytest.raises(ModelyardError, match="no such file"):
            await yard.acquire(trial.route)


async def test_what_a_trial_holds_teaches_nothing(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.replica_memory_bytes = 3 * SMALL_BYTES
        trial = await yard.plane.start_trial(yard.account, SMALL, ROOM)
        yard.routes.release(trial.route, await yard.acquire(trial.route))
        assert yard.reserved_bytes() == 2 * SMALL_BYTES


async def test_memory_that_is_reserved_is_nobody_elses_until_it_is_released(make_yard: MakeYard) -> None:
    async with make_yard(memory_bytes=2 * GIB) as yard:
        assert await yard.plane.largest_memory_bytes() == 2 * GIB
        assert isinstance(await yard.plane.reserve_memory("an export", Need(GIB)), Placed)
        assert isinstance(await yard.plane.reserve_memory("another", Need(2 * GIB)), Wait)
        assert isinstance(await yard.plane.reserve_memory("a huge one", Need(3 * GIB)), Never)
        for _ in range(2):
            await yard.plane.release_memory("an export")
        assert isinstance(await yard.plane.reserve_memory("another", Need(2 * GIB)), Placed)
