"""Memory for what requests bring: who gets it, who waits, and that all of it comes back."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.errors import BodyTooLarge, Overloaded, TooManyAtOnce
from modelyard.gateway.request_memory import MemoryLimits, RequestMemory
from tests.loop import turns

LIMITS = MemoryLimits(request_bytes=60, account_bytes=80, server_bytes=100)


async def test_a_request_has_a_most_and_is_not_made_to_wait_for_more() -> None:
    memory = RequestMemory(LIMITS)
    with memory.of("ada") as share:
        await share.grow(40)
        with pytest.raises(BodyTooLarge, match=r"61 bytes.*at most 60"):
            await share.grow(21)
        assert memory.held_bytes == 40
    assert memory.held_bytes == 0


async def test_an_account_that_holds_its_part_waits_and_lets_others_pass() -> None:
    memory = RequestMemory(LIMITS)
    with memory.of("ada") as first, memory.of("ada") as second, memory.of("bob") as other:
        await first.grow(50)
        waiting = asyncio.create_task(second.grow(40))
        await turns()
        await other.grow(50)
        assert not waiting.done()
        other.__exit__(None, None, None)
        first.__exit__(None, None, None)
        await waiting
        assert memory.held_bytes == 40
    assert memory.held_bytes == 0


async def test_whoever_came_first_is_served_first_when_the_server_has_room() -> None:
    memory = RequestMemory(LIMITS)
    order: list[str] = []

    async def grow(account_id: str, size: int) -> None:
        with memory.of(account_id) as share:
            await share.grow(size)
            order.append(account_id)

    with memory.of("ada") as share:
        await share.grow(60)
        tasks = [asyncio.create_task(grow(*each)) for each in (("bob", 50), ("cyd", 10), ("dee", 10))]
        await turns()
        assert order == []
    await asyncio.gather(*tasks)
    assert order == ["bob", "cyd", "dee"]
    assert memory.held_bytes == 0


@pytest.mark.parametrize(("holder", "error"), [("ada", TooManyAtOnce), ("bob", Overloaded)])
async def test_the_wait_ends_with_when_to_try_again(holder: str, error: type[Exception]) -> None:
    memory = RequestMemory(LIMITS, wait_s=0.01)
    with memory.of(holder) as share, memory.of("ada") as late, memory.of("bob") as more:
        await share.grow(50)
        await more.grow(20)
        with pytest.raises(error) as raised:
            await late.grow(40)
        assert raised.value.data["retry_after_s"] > 0  # type: ignore[attr-defined]
    assert memory.held_bytes == 0


async def test_whoever_leaves_while_waiting_holds_nothing_and_holds_up_nobody() -> None:
    memory = RequestMemory(LIMITS)
    with memory.of("ada") as share:
        await share.grow(60)

        async def wait(account_id: str, size: int) -> None:
            with memory.of(account_id) as late:
                await late.grow(size)

        leaving, staying = asyncio.create_task(wait("bob", 60)), asyncio.create_task(wait("cyd", 30))
        await turns()
        assert not staying.done()
        leaving.cancel()
        await staying
        assert leaving.cancelled() or leaving.done()
        given = asyncio.create_task(wait("dee", 50))
        await turns()
        share.__exit__(None, None, None)  # granted, and cancelled before it runs
        given.cancel()
        await asyncio.wait({given})
    assert memory.held_bytes == 0
