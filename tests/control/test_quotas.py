"""What an account may hold: never more than its quota, its own idle replicas first, and nobody else's."""

from __future__ import annotations

import asyncio
import random

import pytest

from modelyard.control.states import HOLDS_MEMORY
from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import InvalidRequest, NoCapacity, QuotaExceeded
from modelyard.records.accounts import Quota
from tests.control.control_plane import BIG, SMALL, SMALL_BYTES, THIRD, TWIN, ControlPlane, MakeControl

ONE, TWO = SMALL_BYTES, 2 * SMALL_BYTES


def held(control: ControlPlane, account_id: str) -> tuple[int, int]:
    """The instances and the bytes of an account."""
    replicas = [
        replica.reserved_bytes
        for managed in control.desired.all()
        for replica in managed.replicas.values()
        if managed.cluster.account_id == account_id and replica.state in HOLDS_MEMORY
    ]
    return len(replicas), sum(replicas)


# --- models ---


async def test_one_model_too_many_is_refused_and_the_others_can_be_used_and_changed(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.put(SMALL)
        control.quotas[control.account] = Quota(models=1)
        for call in (control.put, control.ask):
            with pytest.raises(QuotaExceeded, match="models are limited to 1, and there are 1: tiny/small") as refusal:
                await call(TWIN)
            assert refusal.value.status == 403
            assert (refusal.value.data["cause"], refusal.value.data["limit"]) == ("models", 1)
        assert [cluster.model_id for cluster in control.store.clusters.list()] == [SMALL]
        await control.put(SMALL, max=2)
        await control.patch(SMALL, timeout=5)
        await (await control.ask(SMALL)).done()
        await control.put(TWIN, control.other_account)


async def test_a_deleted_model_or_a_raised_limit_makes_room_for_another(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(models=1)
        await control.put(SMALL)
        await control.delete(SMALL)
        await control.put(TWIN)
        control.quotas[control.account] = Quota(models=2)
        await control.put(THIRD)
        with pytest.raises(QuotaExceeded, match="tiny/third, tiny/twin"):
            await control.put(SMALL)
        del control.quotas[control.account]
        await control.put(SMALL)


async def test_of_many_first_requests_at_once_only_as_many_models_pass_as_may(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(models=2)
        calls = [control.clusters.ensure(control.account, model_id) for model_id in (SMALL, TWIN, THIRD, BIG) * 5]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, QuotaExceeded) for outcome in outcomes) == 10
        assert len(control.store.clusters.list()) == 2


# --- instances ---


async def test_scaling_stops_at_the_quota_and_says_so_once(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(instances=2)
        managed = await control.put(SMALL, max=5)
        requests = await control.requests(30)
        for _ in range(20):
            control.step(after_s=1)
            await control.settle()
            assert held(control, control.account)[0] <= 2
        assert len(control.ready(managed)) == 2
        assert len(control.engine.launched) == 2
        said = [line for line in await control.events() if "your account" in line]
        assert said == ["waiting for 1 instance: your account may hold 2 instances at once; busy: tiny/small"]
        control.quotas[control.account] = Quota(instances=3)
        await control.until(lambda: len(control.ready(managed)) == 3)
        for request in requests:
            await request.done()


async def test_an_accounts_own_idle_model_leaves_for_its_next_and_no_strangers(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(instances=1)
        theirs = await control.up(THIRD, control.other_account)
        control.step(after_s=500)
        first = await control.up(SMALL)
        control.step(after_s=50)
        second = await control.up(TWIN)
        assert (len(first.replicas), len(second.replicas), len(theirs.replicas)) == (0, 1, 1)
        reason = "waiting for tiny/small to leave: your account may hold 1 instance at once"
        assert reason in await control.events(TWIN)
        await (await control.ask(SMALL)).done()
        assert (len(first.replicas), len(second.replicas), len(theirs.replicas)) == (1, 0, 1)


async def test_two_idle_models_of_one_account_do_not_push_each_other_out_for_ever(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(instances=1)
        await control.put(SMALL)
        await control.put(TWIN)
        for _ in range(20):
            control.step(after_s=1)
            await control.settle()
        assert len(control.engine.launched) == 2


async def test_a_busy_account_waits_for_itself_while_others_start(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(instances=1)
        await control.up(SMALL)
        busy = await control.ask(SMALL)
        waiting = await control.ask(TWIN)
        await control.up(THIRD, control.other_account)
        await control.settle()
        assert waiting.waits
        busy.answer()
        control.step(after_s=1)
        await waiting.done()


@pytest.mark.parametrize(
    ("others", "asked", "accepted"), [(0, 3, "at most 2"), (1, 2, "at most 1"), (2, 1, "at most 0")]
)
async def test_a_minimum_that_can_never_be_kept_is_refused(
    make_control: MakeControl, others: int, asked: int, accepted: str
) -> None:
    async with make_control() as control:
        await control.put(TWIN, min=others, desired=max(1, others), max=9)
        await control.put(SMALL, max=9)
        control.quotas[control.account] = Quota(instances=2)
        for call in (control.put, control.patch):
            with pytest.raises(InvalidRequest, match=rf"capacity\.min: got {asked}; accepted: {accepted}") as refusal:
                await call(SMALL, min=asked, desired=asked)
            assert (refusal.value.status, "2 instances" in refusal.value.message) == (422, True)
        with pytest.raises(InvalidRequest):
            await control.put(THIRD, min=asked, desired=asked, max=9)
        await control.put(SMALL, min=asked - 1, desired=9)
        assert control.clusters.find(control.account, THIRD) is None


async def test_a_cluster_from_before_the_limit_can_still_be_changed(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(SMALL, min=3, desired=3, max=4)
        control.quotas[control.account] = Quota(instances=1)
        await control.patch(SMALL, timeout=9)
        await control.patch(SMALL, min=2)
        await control.settle()
        assert len(control.ready(managed)) == 3, "what runs is not ended"
        with pytest.raises(InvalidRequest):
            await control.patch(SMALL, min=3)


# --- memory ---


async def test_the_bytes_of_an_account_stay_within_its_quota(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(memory_bytes=TWO)
        first = await control.up(SMALL)
        control.step(after_s=60)
        second = await control.up(TWIN)
        control.step(after_s=30)
        big = await control.up(BIG)
        assert (len(first.replicas), len(second.replicas), len(big.replicas)) == (0, 0, 1)
        assert held(control, control.account)[1] <= TWO
        assert (
            "waiting for tiny/small, tiny/twin to leave: your account may hold 184 MB at once"
            in await control.events(BIG)
        )


async def test_a_model_larger_than_the_accounts_memory_is_given_up_until_the_limit_is_lifted(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(memory_bytes=ONE)
        request = await control.ask(BIG)
        with pytest.raises(NoCapacity, match=r"tiny/big needs .* your account may hold 92 MB at once") as refusal:
            await request.served()
        assert refusal.value.data["cause"] == "account memory"
        assert control.report(request.managed).status is Word.FAILED
        del control.quotas[control.account]
        await control.up(BIG)


async def test_no_instance_at_all_is_told_at_once(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(instances=0)
        request = await control.ask(SMALL)
        with pytest.raises(NoCapacity, match="your account may hold 0 instances at once"):
            await request.served()


async def test_whatever_happens_no_account_holds_more_than_its_quota(make_control: MakeControl) -> None:
    dice = random.Random(11)
    async with make_control(memory_bytes=5 * ONE) as control:
        quotas = {control.account: (2, TWO), control.other_account: (3, 3 * ONE)}
        for account_id, (most, memory_bytes) in quotas.items():
            control.quotas[account_id] = Quota(instances=most, memory_bytes=memory_bytes)
        for _ in range(200):
            account_id = dice.choice([control.account, control.other_account])
            model_id = dice.choice([SMALL, TWIN, THIRD, BIG])
            match dice.randrange(6):
                case 0 | 1 | 2:
                    await control.ask(model_id, account_id)
                case 3:
                    await control.put(model_id, account_id, desired=dice.randrange(3), max=4, timeout=30)
                case 4:
                    for managed in control.desired.all():
                        for target in [*managed.route.targets.values(), *managed.route.leaving.values()]:
                            while target.in_flight:
                                control.routes.release(managed.route, target)
                case _:
                    control.step(after_s=dice.choice([1, 31, 100]))
                    await control.settle()
            control.step(after_s=0.1)
            for each, (most, memory_bytes) in quotas.items():
                count, size = held(control, each)
                assert count <= most
                assert size <= memory_bytes
        assert len(control.engine.launched) > 30
