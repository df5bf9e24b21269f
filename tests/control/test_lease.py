"""One server's part in who leads, on a real PostgreSQL, with the processes and the times that servers have."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from modelyard.clock import SystemClock
from modelyard.control.lease import Leadership, LeaseTimes
from modelyard.errors import LeaseLost
from modelyard.records.accounts import Account
from modelyard.store import Store
from tests.clock import HandClock
from tests.store.samples import at

PROGRAM = """
import asyncio, sys
from modelyard.clock import SystemClock
from modelyard.control.lease import Leadership
from modelyard.errors import LeaseLost, ModelyardError
from modelyard.records.clusters import Event
from modelyard.store import Store

async def main(url, account_id):
    with Store.open(url) as store:
        leadership = Leadership(store.leases, "srv_first", "the first", SystemClock())
        await leadership.take()
        keeping = asyncio.create_task(leadership.keep())
        led = store.led_with(leadership.token)
        line = Event(account_id, "org/name", SystemClock().now(), "note", "from the first")
        print("leads", flush=True)
        acted = refused = 0
        while not keeping.done():
            if leadership.held:
                acted += 1
                try:
                    await asyncio.to_thread(led.events.add, [line])
                except ModelyardError:  # it was stopped in the middle of it, or another server leads
                    refused += 1
            await asyncio.sleep(0)
        print(type(keeping.exception()).__name__, leadership.held, flush=True)
        try:
            led.events.add([line])
        except LeaseLost:
            print("refused", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    with Store.open(postgresql_url) as opened:
        yield opened


@pytest.fixture
def account(store: Store) -> Account:
    return store.accounts.create("ada", at(0))


async def test_a_server_that_is_stopped_is_followed_and_acts_no_more_when_it_goes_on(
    store: Store, account: Account, postgresql_url: str
) -> None:
    """It writes all the time, so that it is stopped in the middle of anything."""
    first = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, postgresql_url, account.id],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    second = Leadership(store.leases, "srv_second", "the second", SystemClock())
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "leads\n"
        assert not await second.try_to_take()
        first.send_signal(signal.SIGSTOP)
        await second.take()
        written = len(store.events.list(None, limit=100_000))
        assert second.held

        first.send_signal(signal.SIGCONT)

        assert first.stdout.readline() == "LeaseLost False\n"
        assert first.stdout.readline() == "refused\n"
        assert first.wait(120) == 0
        assert len(store.events.list(None, limit=100_000)) == written
        await second.renew()
    finally:
        first.kill()
        first.wait()
        assert first.stdout is not None
        first.stdout.close()
        second.close()


async def test_requests_are_answered_until_it_is_known_that_another_server_leads(store: Store) -> None:
    clock = HandClock()
    first, second = (Leadership(store.leases, name, name, clock) for name in ("srv_first", "srv_second"))
    assert not await first.confirm()
    assert await first.try_to_take()
    assert first.may_answer
    clock.advance(100.0)
    assert not first.may_answer
    assert await first.confirm()
    assert first.held
    await first.release()
    assert await second.try_to_take()
    assert not await first.confirm()
    assert not first.may_answer
    clock.advance(100.0)
    store.close()
    assert await second.confirm()
    assert second.may_answer
    assert not second.held
    for each in (first, second):
        each.close()


@pytest.mark.verify(part="ray")
async def test_a_leader_that_dies_is_followed_within_three_seconds(store: Store) -> None:
    for number in range(3):
        first, second = (
            Leadership(store.leases, f"srv_{number}_{name}", name, SystemClock()) for name in ("first", "second")
        )
        await first.take()
        following = asyncio.create_task(second.take())
        await first.renew()
        died_at = time.monotonic()
        await following
        took_s = time.monotonic() - died_at
        print(f"followed after {took_s:.2f} s")
        assert LeaseTimes().lease_s <= took_s <= 3.0
        with pytest.raises(LeaseLost):
            await first.renew()
        await second.release()
        first.close()
        second.close()


async def test_a_lease_that_is_given_back_is_another_servers_at_once(store: Store) -> None:
    times = LeaseTimes(lease_s=100_000.0)
    first, second = (Leadership(store.leases, f"srv_{name}", name, SystemClock(), times) for name in ("one", "two"))
    await first.take()
    assert first.held
    assert not await second.try_to_take()
    await first.release()
    assert not first.held
    assert await second.try_to_take()
    assert second.token > first.token
    found = await first.find()
    assert found is not None
    assert found.holder == "srv_two"
    first.close()
    second.close()
