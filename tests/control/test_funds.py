"""What becomes of an account's clusters while it may spend nothing."""

from __future__ import annotations

import pytest

from modelyard.accounts.ledger import least_nano, lines
from modelyard.control import reconciler
from modelyard.control.launch_funds import ENDED_KEPT_S
from modelyard.control.policy import Policy
from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import PaymentRequired
from modelyard.records.instances import Tariff
from tests.control.control_plane import SMALL, TWIN, MakeControl

TARIFF = Tariff(10**6)
SPENT = PaymentRequired("ada has spent all of it.")
FUNDS_S = Policy().tick_s
"""How soon it is seen at the latest that an account's funds have changed."""


async def test_what_is_in_flight_finishes_and_what_waits_is_told_why(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(min=1)
        requests = await control.requests(9)
        assert [request.waits for request in requests] == [False] * 8 + [True]
        control.refusals[control.account] = SPENT
        control.step()
        with pytest.raises(PaymentRequired, match="spent all of it"):
            await requests[8].task
        await control.settle()
        assert control.states(managed) == ["draining"]
        assert control.report(managed).status is Word.STOPPING
        for request in requests[:8]:
            request.answer()
        await control.until(lambda: not managed.replicas)
        report = control.report(managed)
        assert (report.status, report.error) == (Word.STOPPED, "ada has spent all of it.")
        with pytest.raises(PaymentRequired):
            await (await control.ask()).task
        assert len(control.engine.launched) == 1


async def test_each_step_asks_for_the_funds_of_some_accounts_and_all_have_their_turn(
    make_control: MakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "ACCOUNTS_PER_STEP", 1)
    async with make_control() as control:
        clusters = [await control.up(min=1), await control.up(SMALL, control.other_account, min=1)]
        await control.settle()
        control.refusals.update(dict.fromkeys((control.account, control.other_account), SPENT))
        control.step(after_s=FUNDS_S)
        assert [managed.suspension is None for managed in clusters].count(False) == 1
        assert control.changed.is_set(), "one is left"
        control.step()
        assert [managed.suspension for managed in clusters] == [SPENT, SPENT]


async def test_a_stream_without_funds_may_take_longer_than_a_drain(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        (stream,) = await control.requests(1)
        control.refusals[control.account] = SPENT
        await control.settle()
        control.step(after_s=10 * control.policy.drain_s)
        await control.settle()
        assert control.states(managed) == ["draining"]
        stream.answer()
        await control.until(lambda: not managed.replicas)


async def test_nothing_boots_and_what_boots_is_stopped(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.hold_boots = True
        booting = await control.put(min=1)
        await control.settle()
        assert control.states(booting) == ["starting"]
        control.refusals[control.account] = SPENT
        cold = await control.put(TWIN, min=1)
        control.step(after_s=FUNDS_S)
        await control.settle()
        assert (control.states(booting), control.states(cold)) == ([], [])
        assert len(control.engine.launched) == 1


async def test_other_accounts_go_on(make_control: MakeControl) -> None:
    async with make_control() as control:
        mine, theirs = await control.up(SMALL), await control.up(SMALL, control.other_account)
        control.refusals[control.account] = SPENT
        control.step(after_s=FUNDS_S)
        await control.settle()
        assert (control.states(mine), control.states(theirs)) == ([], ["ready"])


async def test_with_funds_again_the_clusters_come_back_by_themselves(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(min=1)
        control.refusals[control.account] = SPENT
        control.step(after_s=FUNDS_S)
        await control.settle()
        assert control.states(managed) == []
        del control.refusals[control.account]
        control.step(after_s=FUNDS_S)
        await control.until(lambda: control.ready(managed))
        assert control.report(managed).error is None
        await (await control.ask()).done()
        words = await control.events()
        assert sum("spent all of it" in line for line in words) == 1
        assert sum("funds again" in line for line in words) == 1


async def test_a_new_server_boots_nothing_that_is_not_paid_for(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.up(min=1)
        refusals = {control.account: SPENT}
    async with make_control(refusals=refusals) as control:
        await control.settle()
        assert control.engine.launched == []


async def test_no_more_begin_than_the_funds_last_for(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.most_begun = 2
        control.engine.hold_boots = True
        managed = await control.put(min=4, max=4, desired=4)
        await control.settle()
        assert control.states(managed) == ["starting", "starting"]
        another = await control.ask(TWIN)
        await control.settle()
        with pytest.raises(PaymentRequired, match="not enough for another instance"):
            await another.task
        assert len(control.engine.launched) == 2


@pytest.mark.parametrize("how", ["off", "deleted", "fewer"])
async def test_a_boot_that_is_taken_back_counts_from_its_launch_once_it_was_started(
    make_control: MakeControl, how: str
) -> None:
    async with make_control(tariff=TARIFF) as control:
        control.engine.hold_loads = True
        managed = await control.put(min=1)
        await control.settle()
        assert control.states(managed) == ["loading"]
        control.clock.advance(5)
        match how:
            case "off":
                await control.patch(status="off")
            case "deleted":
                await control.delete(SMALL)
            case "fewer":
                await control.patch(min=0, desired=0)
        await control.until(lambda: not managed.replicas)
        (life,) = await control.ledger()
        (line,) = lines([life])
        assert (line.since, line.charge.took_us) == (life.created_at, 5_000_000)
        assert line.charge.amount_nano == least_nano(life.memory_bytes, TARIFF) > 0


async def test_a_boot_that_is_taken_back_before_it_was_started_costs_nothing(make_control: MakeControl) -> None:
    async with make_control(tariff=TARIFF) as control:
        control.engine.hold_boots = True
        managed = await control.put(min=1)
        await control.settle()
        assert control.states(managed) == ["starting"]
        await control.patch(status="off")
        await control.until(lambda: not managed.replicas)
        assert list(lines(await control.ledger())) == []


async def test_a_boot_that_fails_or_that_the_server_ends_costs_nothing(make_control: MakeControl) -> None:
    async with make_control(tariff=TARIFF) as control:
        control.engine.hold_loads = True
        managed = await control.put(min=1)
        await control.settle()
        control.engine.die(next(iter(managed.replicas)))
        await control.settle()
        control.step(after_s=control.policy.back_off_s)
        await control.settle()
        assert control.states(managed) == ["loading"]
        control.step(after_s=control.policy.boot_s + 1)  # it does not boot in time
        await control.settle()
        control.step(after_s=control.policy.back_off_max_s)
        await control.settle()
        assert control.states(managed) == ["loading"]
        clock = control.clock
    async with make_control(clock=clock) as control:
        lives = await control.ledger()
        assert len(lives) == 3
        assert list(lines(lives)) == []


async def test_what_has_just_ended_counts_before_the_next_launch(make_control: MakeControl) -> None:
    async with make_control(tariff=TARIFF) as control:
        control.most_begun = 2
        for _ in range(2):  # each costs the minimum, which the account's figures do not hold yet
            await control.up(min=1)
            await control.delete(SMALL)
            await control.settle()
        refused = await control.ask(SMALL)
        await control.settle()
        with pytest.raises(PaymentRequired, match="not enough for another instance"):
            await refused.task
        control.clock.advance(ENDED_KEPT_S)
        await control.up(TWIN, min=1)
