"""What becomes of an account's clusters while it may spend nothing."""

from __future__ import annotations

import pytest

from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import PaymentRequired
from tests.control.yard import SMALL, TWIN, MakeYard

SPENT = PaymentRequired("ada has spent all of it.")


async def test_what_is_in_flight_finishes_and_what_waits_is_told_why(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(min=1)
        requests = await yard.requests(9)
        assert [request.waits for request in requests] == [False] * 8 + [True]
        yard.refusals[yard.account] = SPENT
        yard.step()
        with pytest.raises(PaymentRequired, match="spent all of it"):
            await requests[8].task
        await yard.settle()
        assert yard.states(supervised) == ["draining"]
        assert yard.report(supervised).status is Word.STOPPING
        for request in requests[:8]:
            request.answer()
        await yard.until(lambda: not supervised.replicas)
        report = yard.report(supervised)
        assert (report.status, report.error) == (Word.STOPPED, "ada has spent all of it.")
        with pytest.raises(PaymentRequired):
            await (await yard.ask()).task
        assert len(yard.engine.launched) == 1


async def test_a_stream_without_funds_may_take_longer_than_a_drain(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up()
        (stream,) = await yard.requests(1)
        yard.refusals[yard.account] = SPENT
        await yard.settle()
        yard.step(after_s=10 * yard.policy.drain_s)
        await yard.settle()
        assert yard.states(supervised) == ["draining"]
        stream.answer()
        await yard.until(lambda: not supervised.replicas)


async def test_nothing_boots_and_what_boots_is_stopped(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.engine.hold_boots = True
        booting = await yard.put(min=1)
        await yard.settle()
        assert yard.states(booting) == ["starting"]
        yard.refusals[yard.account] = SPENT
        cold = await yard.put(TWIN, min=1)
        await yard.settle()
        assert (yard.states(booting), yard.states(cold)) == ([], [])
        assert len(yard.engine.launched) == 1


async def test_other_accounts_go_on(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        mine, theirs = await yard.up(SMALL), await yard.up(SMALL, yard.other_account)
        yard.refusals[yard.account] = SPENT
        await yard.settle()
        assert (yard.states(mine), yard.states(theirs)) == ([], ["ready"])


async def test_with_funds_again_the_clusters_come_back_by_themselves(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        supervised = await yard.up(min=1)
        yard.refusals[yard.account] = SPENT
        await yard.settle()
        assert yard.states(supervised) == []
        del yard.refusals[yard.account]
        await yard.until(lambda: yard.ready(supervised))
        assert yard.report(supervised).error is None
        await (await yard.ask()).done()
        words = await yard.events()
        assert sum("spent all of it" in line for line in words) == 1
        assert sum("funds again" in line for line in words) == 1


async def test_a_new_server_boots_nothing_that_is_not_paid_for(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        await yard.up(min=1)
        refusals = {yard.account: SPENT}
    async with make_yard(refusals=refusals) as yard:
        await yard.settle()
        assert yard.engine.launched == []


async def test_no_more_begin_than_the_funds_last_for(make_yard: MakeYard) -> None:
    async with make_yard() as yard:
        yard.most_begun = 2
        yard.engine.hold_boots = True
        supervised = await yard.put(min=4, max=4, desired=4)
        await yard.settle()
        assert yard.states(supervised) == ["starting", "starting"]
        another = await yard.ask(TWIN)
        await yard.settle()
        with pytest.raises(PaymentRequired, match="not enough for another instance"):
            await another.task
        assert len(yard.engine.launched) == 2
