"""What jobs ask of the control plane: memory for other work, and workers of their own."""

import asyncio

import pytest

from modelyard.control import plane
from modelyard.control.placement import Never, Placed, Wait
from modelyard.control.replicas import BootSettings
from modelyard.errors import ModelyardError, UnknownCluster
from modelyard.units import GIB
from tests.control.control_plane import BIG, SMALL, SMALL_BYTES, TWIN, MakeControl
from tests.loop import turns_of

ROOM = BootSettings(max_batch=3, reserve_bytes=2 * SMALL_BYTES, limit_bytes=5 * SMALL_BYTES, billed=False)


async def test_a_trial_is_one_worker_with_the_settings_it_was_given(make_control: MakeControl) -> None:
    async with make_control() as control:
        trial = await control.plane.start_trial(control.account, SMALL, ROOM)
        target = await control.acquire(trial.route)
        (spec,) = control.engine.launched
        assert (spec.max_batch, spec.memory_limit_bytes) == (3, 5 * SMALL_BYTES)
        assert control.reserved_bytes() == 2 * SMALL_BYTES
        (life,) = await control.ledger()
        assert (life.cluster_id, life.account_id, life.tariff) == (trial.id, control.account, None)
        figures = await control.plane.get_trial(trial.id)
        assert figures.peak_bytes == control.engine.replica_memory_bytes
        control.routes.release(trial.route, target)


async def test_a_trial_is_no_cluster_of_its_account(make_control: MakeControl) -> None:
    async with make_control() as control:
        trial = await control.plane.start_trial(control.account, SMALL, ROOM)
        assert await control.plane.list(control.account) == []
        assert await control.plane.find(control.account, SMALL) is None
        await control.put(BIG)
        control.routes.release(trial.route, await control.acquire(trial.route))
        assert [each.cluster.model_id for each in await control.plane.list(control.account)] == [BIG]


async def test_a_trial_that_ends_leaves_nothing(make_control: MakeControl) -> None:
    async with make_control() as control:
        trial = await control.plane.start_trial(control.account, SMALL, ROOM)
        control.routes.release(trial.route, await control.acquire(trial.route))
        ending = asyncio.create_task(control.plane.end_trial(trial.id))
        await control.until(ending.done)
        await ending
        await control.plane.end_trial(trial.id)
        assert control.desired.all() == []
        assert control.store.clusters.list() == []
        with pytest.raises(UnknownCluster):
            await control.plane.get_trial(trial.id)


async def test_a_trial_outlives_what_others_change(make_control: MakeControl) -> None:
    async with make_control() as control:
        trial = await control.plane.start_trial(control.account, SMALL, ROOM)
        control.routes.release(trial.route, await control.acquire(trial.route))
        await control.put(SMALL)
        await control.delete(SMALL)
        assert len(trial.route.targets) == 1


async def test_a_trial_whose_worker_cannot_load_says_so(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.refuse_next("no such file")
        trial = await control.plane.start_trial(control.account, SMALL, ROOM)
        with pytest.raises(ModelyardError, match="no such file"):
            await control.acquire(trial.route)


async def test_what_a_trial_holds_teaches_nothing(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.replica_memory_bytes = 3 * SMALL_BYTES
        trial = await control.plane.start_trial(control.account, SMALL, ROOM)
        control.routes.release(trial.route, await control.acquire(trial.route))
        assert control.reserved_bytes() == 2 * SMALL_BYTES


async def test_memory_that_is_reserved_is_nobody_elses_until_it_is_released(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=2 * GIB) as control:
        assert await control.plane.largest_memory_bytes() == 2 * GIB
        assert isinstance(await control.plane.reserve_memory("an export", GIB), Placed)
        assert isinstance(await control.plane.reserve_memory("another", 2 * GIB), Wait)
        assert isinstance(await control.plane.reserve_memory("a huge one", 3 * GIB), Never)
        for _ in range(2):
            await control.plane.release_memory("an export")
        assert isinstance(await control.plane.reserve_memory("another", 2 * GIB), Placed)


async def test_others_have_their_turns_while_all_clusters_are_gone_through(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane, "LOOKED_AT_ONCE", 1)
    async with make_control() as control:
        for model_id in (SMALL, TWIN):
            await control.up(model_id)
        for look in (control.plane.overview, control.plane.figures, control.plane.nodes, control.plane.replicas):
            assert await turns_of(look()) > 2, look
