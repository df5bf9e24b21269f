"""How many calls an account may make: some at once, so many a second, large answers and changes for more."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.accounts import calls
from modelyard.accounts.calls import BURST_S, BYTES_PER_CALL, READS_AT_ONCE, CallBudget
from modelyard.errors import Throttled
from tests.clock import HandClock

PER_S = 10.0
ADA, EVE = "acc_ada", "acc_eve"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "PATIENCE_S", 0.05)


async def make(budget: CallBudget, who: str | None = EVE, *, count: int = 1, cost: float = 1, size: int = 0) -> None:
    for _ in range(count):
        async with budget.call(who, "192.0.2.1", cost, read=True) as add:
            add(size)


async def test_a_burst_is_answered_then_so_many_a_second() -> None:
    clock = HandClock()
    budget = CallBudget(PER_S, clock)
    await make(budget, count=int(PER_S * BURST_S))
    with pytest.raises(Throttled, match="limited to 10 per second") as refusal:
        await make(budget)
    assert refusal.value.data["limit"] == PER_S
    clock.advance(refusal.value.data["retry_after_s"])
    await make(budget, count=int(PER_S))


async def test_one_accounts_calls_leave_another_and_strangers_all_of_theirs() -> None:
    budget = CallBudget(PER_S, HandClock())
    for who in (EVE, ADA, None):
        await make(budget, who, count=int(PER_S * BURST_S))
        with pytest.raises(Throttled):
            await make(budget, who)


@pytest.mark.parametrize(("cost", "size"), [(5, 0), (1, 4 * BYTES_PER_CALL)])
async def test_what_costs_more_counts_for_more(cost: float, size: int) -> None:
    budget = CallBudget(PER_S, HandClock())
    await make(budget, count=int(PER_S * BURST_S / 5), cost=cost, size=size)
    with pytest.raises(Throttled):
        await make(budget)


async def test_a_call_that_comes_a_little_early_waits_and_is_answered() -> None:
    budget = CallBudget(1000.0, HandClock())
    await make(budget, count=int(1000 * BURST_S) + 1)


async def test_a_refused_call_counts_for_nothing() -> None:
    clock = HandClock()
    budget = CallBudget(PER_S, clock)
    await make(budget, count=int(PER_S * BURST_S))
    for _ in range(3):
        with pytest.raises(Throttled):
            await make(budget)
    clock.advance(0.1)
    await make(budget)


async def test_so_many_reads_of_an_account_are_under_way_and_others_are_not_kept_by_them() -> None:
    budget = CallBudget(PER_S, HandClock())
    under_way, most, end = 0, 0, asyncio.Event()

    async def read() -> None:
        nonlocal under_way, most
        async with budget.call(EVE, None, 1, read=True):
            under_way += 1
            most = max(most, under_way)
            await end.wait()
            under_way -= 1

    reads = [asyncio.create_task(read()) for _ in range(3 * READS_AT_ONCE)]
    refused = await asyncio.wait_for(asyncio.gather(*reads[READS_AT_ONCE:], return_exceptions=True), 30)
    assert all(isinstance(each, Throttled) for each in refused)
    await make(budget, ADA)
    async with budget.call(EVE, None, 1, read=False):
        end.set()
    await asyncio.gather(*reads[:READS_AT_ONCE])
    assert (under_way, most) == (0, READS_AT_ONCE)
    await make(budget)


async def test_a_client_that_leaves_gives_its_turn_and_its_call_back() -> None:
    clock = HandClock()
    budget = CallBudget(PER_S, clock)
    await make(budget, count=int(PER_S * BURST_S))
    waiting = asyncio.create_task(make(budget, cost=0.1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    clock.advance(0.1)
    await make(budget)


async def test_without_a_limit_or_a_cost_nothing_is_counted() -> None:
    await make(CallBudget(0, HandClock()), count=1000)
    await make(CallBudget(PER_S, HandClock()), count=1000, cost=0)
