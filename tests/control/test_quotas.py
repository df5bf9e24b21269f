"""What an account may hold: never more than its quota, its own idle replicas first, and nobody else's."""

from __future__ import annotations

import asyncio
import random

import pytest

from modelyard.control.states import HOLDS_MEMORY
from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import InvalidRequest, NoCapacity, QuotaExceeded
from modelyard.records.accounts import Quota
from tests.control.yard import BIG, SMALL, SMALL_BYTES, THIRD, TWIN, MakeYard, Yard

ONE, TWO = SMALL_BYTES, 2 * SMALL_BYTES


def held(yard: Yard, account_id: str) -> tuple[int, int]:
    """The instances and the bytes of an account."""
    replicas = [
        replica.reserved_bytes
        for supervised in yard.desired.all()
        for replica in supervised.replicas.values()
        if supervised.cluster.account_id == account_id and replica.state in HOLDS_MEMORY
    ]
    return len(replicas), sum(replicas)


# --- models ---


async def test_one_model_too_many_is_refused_and_the_others_can_be_used_and_changed(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.put(SMALL)
        yard.quotas[yard.account] = Quota(models=1)
        for call in (yard.put, yard.ask):
            with pytest.raises(QuotaExceeded, match="models are limited to 1, and there are 1: tiny/small") as refusal:
                await call(TWIN)
            assert refusal.value.status == 403
            assert (refusal.value.data["cause"], refusal.value.data["limit"]) == ("models", 1)
        assert [cluster.model_id for cluster in yard.store.clusters.list()] == [SMALL]
        await yard.put(SMALL, max=2)
        await yard.patch(SMALL, timeout=5)
        await (await yard.ask(SMALL)).done()
        await yard.put(TWIN, yard.other_account)


async def test_a_deleted_model_or_a_raised_limit_makes_room_for_another(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(models=1)
        await yard.put(SMALL)
        await yard.delete(SMALL)
        await yard.put(TWIN)
        yard.quotas[yard.account] = Quota(models=2)
        await yard.put(THIRD)
        with pytest.raises(QuotaExceeded, match="tiny/third, tiny/twin"):
            await yard.put(SMALL)
        del yard.quotas[yard.account]
        await yard.put(SMALL)


async def test_of_many_first_requests_at_once_only_as_many_models_pass_as_may(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(models=2)
        calls = [yard.clusters.ensure(yard.account, model_id) for model_id in (SMALL, TWIN, THIRD, BIG) * 5]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, QuotaExceeded) for outcome in outcomes) == 10
        assert len(yard.store.clusters.list()) == 2


# --- instances ---


async def test_scaling_stops_at_the_quota_and_says_so_once(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(instances=2)
        supervised = await yard.put(SMALL, max=5)
        requests = await yard.requests(30)
        for _ in range(20):
            yard.step(after_s=1)
            await yard.settle()
            assert held(yard, yard.account)[0] <= 2
        assert len(yard.ready(supervised)) == 2
        assert len(yard.engine.launched) == 2
        said = [line for line in await yard.events() if "your account" in line]
        assert said == ["waiting for 1 instance: your account may hold 2 instances at once; busy: tiny/small"]
        yard.quotas[yard.account] = Quota(instances=3)
        await yard.until(lambda: len(yard.ready(supervised)) == 3)
        for request in requests:
            await request.done()


async def test_an_accounts_own_idle_model_leaves_for_its_next_and_no_strangers(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(instances=1)
        theirs = await yard.up(THIRD, yard.other_account)
        yard.step(after_s=500)
        first = await yard.up(SMALL)
        yard.step(after_s=50)
        second = await yard.up(TWIN)
        assert (len(first.replicas), len(second.replicas), len(theirs.replicas)) == (0, 1, 1)
        reason = "waiting for tiny/small to leave: your account may hold 1 instance at once"
        assert reason in await yard.events(TWIN)
        await (await yard.ask(SMALL)).done()
        assert (len(first.replicas), len(second.replicas), len(theirs.replicas)) == (1, 0, 1)


async def test_two_idle_models_of_one_account_do_not_push_each_other_out_for_ever(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(instances=1)
        await yard.put(SMALL)
        await yard.put(TWIN)
        for _ in range(20):
            yard.step(after_s=1)
            await yard.settle()
        assert len(yard.engine.launched) == 2


async def test_a_busy_account_waits_for_itself_while_others_start(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(instances=1)
        await yard.up(SMALL)
        busy = await yard.ask(SMALL)
        waiting = await yard.ask(TWIN)
        await yard.up(THIRD, yard.other_account)
        await yard.settle()
        assert waiting.waits
        busy.answer()
        yard.step(after_s=1)
        await waiting.done()


@pytest.mark.parametrize(
    ("others", "asked", "accepted"), [(0, 3, "at most 2"), (1, 2, "at most 1"), (2, 1, "at most 0")]
)
async def test_a_minimum_that_can_never_be_kept_is_refused(
    make_yard: MakeYard, others: int, asked: int, accepted: str
) -> None:
    async with make_yard() as yard:
        await yard.put(TWIN, min=others, desired=max(1, others), max=9)
        await yard.put(SMALL, max=9)
        yard.quotas[yard.account] = Quota(instances=2)
        for call in (yard.put, yard.patch):
            with pytest.raises(InvalidRequest, match=rf"capacity\.min: got {asked}; accepted: {accepted}") as refusal:
                await call(SMALL, min=asked, desired=asked)
            assert (refusal.value.status, "2 instances" in refusal.value.message) == (422, True)
        with pytest.raises(InvalidRequest):
            await yard.put(THIRD, min=asked, desired=asked, max=9)
        await yard.put(SMALL, min=asked - 1, desired=9)
        assert yard.clusters.find(yard.account, THIRD) is None


async def test_a_cluster_from_before_the_limit_can_still_be_changed(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(SMALL, min=3, desired=3, max=4)
        yard.quotas[yard.account] = Quota(instances=1)
        await yard.patch(SMALL, timeout=9)
        await yard.patch(SMALL, min=2)
        await yard.settle()
        assert len(yard.ready(supervised)) == 3, "what runs is not ended"
        with pytest.raises(InvalidRequest):
            await yard.patch(SMALL, min=3)


# --- memory ---


async def test_the_bytes_of_an_account_stay_within_its_quota(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(memory_bytes=TWO)
        first = await yard.up(SMALL)
        yard.step(after_s=60)
        second = await yard.up(TWIN)
        yard.step(after_s=30)
        big = await yard.up(BIG)
        assert (len(first.replicas), len(second.replicas), len(big.replicas)) == (0, 0, 1)
        assert held(yard, yard.account)[1] <= TWO
        assert "waiting for tiny/small, tiny/twin to leave: your account may hold 0.2 GB at once" in await yard.events(
            BIG
        )


async def test_a_model_larger_than_the_accounts_memory_is_given_up_until_the_limit_is_lifted(
    make_yard: MakeYard,
) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(memory_bytes=ONE)
        request = await yard.ask(BIG)
        with pytest.raises(NoCapacity, match=r"tiny/big needs .* your account may hold 92 MB at once") as refusal:
            await request.served()
        assert refusal.value.data["cause"] == "account memory"
        assert yard.report(request.supervised).status is Word.FAILED
        del yard.quotas[yard.account]
        await yard.up(BIG)


async def test_no_instance_at_all_is_told_at_once(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.quotas[yard.account] = Quota(instances=0)
        request = await yard.ask(SMALL)
        with pytest.raises(NoCapacity, match="your account may hold 0 instances at once"):
            await request.served()


async def test_whatever_happens_no_account_holds_more_than_its_quota(make_yard: MakeYard) -> None:
    dice = random.Random(11)
    async with make_yard(memory_bytes=5 * ONE) as yard:
        quotas = {yard.account: (2, TWO), yard.other_account: (3, 3 * ONE)}
        for account_id, (most, memory_bytes) in quotas.items():
            yard.quotas[account_id] = Quota(instances=most, memory_bytes=memory_bytes)
        for _ in range(200):
            account_id = dice.choice([yard.account, yard.other_account])
            model_id = dice.choice([SMALL, TWIN, THIRD, BIG])
            match dice.randrange(6):
                case 0 | 1 | 2:
                    await yard.ask(model_id, account_id)
                case 3:
                    await yard.put(model_id, account_id, desired=dice.randrange(3), max=4, timeout=30)
                case 4:
                    for supervised in yard.desired.all():
                        for target in [*supervised.route.targets.values(), *supervised.route.leaving.values()]:
                            while target.in_flight:
                                yard.routes.release(supervised.route, target)
                case _:
                    yard.step(after_s=dice.choice([1, 31, 100]))
                    await yard.settle()
            yard.step(after_s=0.1)
            for each, (most, memory_bytes) in quotas.items():
                count, size = held(yard, each)
                assert count <= most
                assert size <= memory_bytes
        assert len(yard.engine.launched) > 30
