"""What a gateway does while another process begins to lead: it goes on, tells what it holds, and asks again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rates import RateLimiter
from modelyard.clock import SteadyClock
from modelyard.config import Settings
from modelyard.errors import (
    DatabaseTaken,
    LeaseLost,
    PaymentRequired,
    RateLimited,
    ReplicaLost,
    TooManyAtOnce,
    Unavailable,
)
from modelyard.gateway.following import kept_slots
from modelyard.gateway.following.follower import Follower
from modelyard.gateway.following.leader import Authority, Leader
from modelyard.gateway.following.leaders import Leaders
from modelyard.gateway.following.requests import WrittenBooks
from modelyard.gateway.metering import OwnBooks
from modelyard.records.leases import LeaderAddress, Lease
from modelyard.records.requests import RequestRecord
from modelyard.tls import LinkTls, load_tls
from tests.certificates import make_authority, make_certificate
from tests.clock import START
from tests.control.control_plane import SMALL, ControlPlane
from tests.engine.harness import eventually
from tests.gateway.following.test_following import SECRET, Followed, FollowingGateway, key_of, request_of

PER_MINUTE = 3
"""Requests of a key."""
GONE_S = 3600.0
"""Gateways that followed the server before come back in time."""


class Led(Followed):
    """A control plane that gateways follow at one TCP address after another, as if servers replaced each other."""

    def __init__(self, control: ControlPlane, path: Path, stack: ExitStack) -> None:
        super().__init__(control, path, per_minute=PER_MINUTE)
        self.stack = stack
        self.lease: Lease | None = None
        self.leaders: dict[FollowingGateway, Leaders] = {}
        """By gateway, its search for who leads."""

    async def lead(
        self, change: Callable[[Authority], Authority] = lambda same: same, tls: LinkTls | None = None
    ) -> None:
        """The next server leads."""
        await self.leader.close()
        listener = self.stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        self.leader = Leader(change(self.authority), SECRET)
        await self.leader.listen(listener, tls)
        address = LeaderAddress(f"127.0.0.1:{listener.getsockname()[1]}", "127.0.0.1:1", SECRET, tls is not None)
        token = 1 if self.lease is None else self.lease.token + 1
        self.lease = Lease(token, f"srv_{token}", f"server {token}", START, address)

    async def lead_anew(self, *gateways: FollowingGateway) -> None:
        """Another server leads, which knows what the database has and nothing that the one before it had counted; these
        gateways follow it."""
        control = self.control
        self.funds = Funds(control.store, SteadyClock(control.clock))
        await self.funds.open()
        self.quotas = Quotas(control.store.accounts.list_with_quota)
        self.quotas.read()
        self.authority = replace(
            self.authority,
            limiter=RateLimiter(PER_MINUTE, control.clock),
            funds=self.funds,
            quotas=self.quotas,
            books=OwnBooks(control.store, control.journal, self.funds),
            gone_s=GONE_S,
        )
        await self.lead()
        for gateway in gateways:
            await self.look(gateway)

    async def follow(self, tls: LinkTls | None = None) -> FollowingGateway:
        """A gateway that follows whoever leads, and looks when it is told to."""
        gateway = self.seek(tls)
        await self.look(gateway)
        return gateway

    def seek(self, tls: LinkTls | None = None) -> FollowingGateway:
        """One that has not looked yet."""
        follower = Follower(Aliases(self.control.store.aliases), lambda: None, others_may_lead=True)
        gateway = self.add(follower, WrittenBooks(follower, self.control.journal))
        self.leaders[gateway] = Leaders(follower, lambda: self.lease, 0, tls)
        return gateway

    async def look(self, gateway: FollowingGateway) -> None:
        """The gateway looks who leads, and follows it."""
        await self.leaders[gateway]._look()
        await eventually(lambda: gateway.follower.follows)


@pytest.fixture
async def led(tmp_path: Path, models: Path, database: Path) -> AsyncIterator[Led]:
    with ExitStack() as stack:
        async with ControlPlane(tmp_path, models, database) as control:
            led = Led(control, tmp_path / "follow", stack)
            await led.lead()
            yield led
            await led.close()


async def test_the_next_leader_is_told_what_a_gateway_holds(led: Led) -> None:
    gateway = await led.follow()
    _, under_way = await gateway.admission.admit(request_of(await key_of(led)), {})
    with under_way:
        first, second = await led.served(gateway.ask(), gateway.ask())
        await led.leader.close()
        await led.until(lambda: led.load() == (0, 0))
        assert led.quotas.under_way() == 0

        await led.lead()
        await led.look(gateway)

        await led.until(lambda: led.load() == (2, 0))
        assert led.quotas.under_way() == 1
        assert "hello" in str((await first.link.request({"text": "hello"}, {}, stream=False).run()).output)
        gateway.release(first)
        gateway.release(second)
        await led.until(lambda: led.load() == (0, 0))
    await led.until(lambda: led.quotas.under_way() == 0)


async def test_what_is_asked_of_a_replica_that_was_lost_while_nobody_led_is_told_so(led: Led) -> None:
    gateway = await led.follow()
    engine = led.control.engine
    (lost,) = await led.served(gateway.ask())
    engine.hold_answers()
    answer = asyncio.create_task(lost.link.request({"text": "hello"}, {}, stream=False).run())
    await eventually(lambda: engine.model(lost.replica_id).seen)
    await led.leader.close()
    engine.lose(lost.replica_id)
    await led.until(lambda: lost.replica_id not in led.route.targets)
    assert not answer.done()
    await led.lead()
    await led.look(gateway)
    await led.until(answer.done)
    with pytest.raises(ReplicaLost):
        await answer
    gateway.release(lost)
    await led.until(lambda: led.load() == (0, 0))


async def test_what_was_answered_while_nobody_led_is_counted(led: Led) -> None:
    gateway = await led.follow()
    (answered,) = await led.served(gateway.ask())
    await led.leader.close()
    await eventually(lambda: not gateway.follower.can_tell)
    gateway.slots.release(led.route, answered, answered=True)
    await led.lead()
    await led.look(gateway)
    await led.until(lambda: (led.route.finished, led.load()) == (1, (0, 0)))


async def test_slots_that_were_kept_are_not_used_under_the_next_leader(
    led: Led, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_slots, "IDLE_S", 100.0)
    monkeypatch.setattr(kept_slots, "LENT_S", 100.0)
    gateway = await led.follow()
    await led.control.up()
    idle, held = await led.served(gateway.ask(), gateway.ask())
    gateway.answer(idle)
    await led.until(lambda: led.route.finished == 1)
    await led.lead()
    await led.look(gateway)
    await led.until(lambda: led.load() == (1, 0))
    gateway.answer(held)
    await led.until(lambda: (led.route.finished, led.load()) == (2, (0, 0)))
    (anew,) = await led.served(gateway.ask())
    assert anew not in (idle, held)
    assert led.load() == (1, 0)
    gateway.release(anew)


async def test_what_was_asked_is_asked_of_the_next_leader(led: Led) -> None:
    gateway = await led.follow()
    await led.control.put()
    asked = gateway.ask()
    await eventually(lambda: led.load() == (0, 1))
    await led.leader.close()
    await eventually(lambda: led.load() == (0, 0))
    late = gateway.ask()
    await led.lead()
    await led.look(gateway)
    for target in await led.served(asked, late):
        gateway.release(target)
    await led.until(lambda: led.load() == (0, 0))


async def test_what_a_leader_cannot_do_since_another_one_leads_is_asked_of_that_one(led: Led) -> None:
    gateway = await led.follow()
    await led.control.put()
    asked = gateway.ask()
    await eventually(lambda: led.load() == (0, 1))
    led.control.routes.publish(led.route.cluster_id, {}, LeaseLost())
    await eventually(lambda: not gateway.follower.can_tell)
    assert not asked.done()
    led.control.routes.publish(led.route.cluster_id, {})
    await led.lead()
    await led.look(gateway)
    gateway.release((await led.served(asked))[0])


async def test_who_waits_for_a_leader_in_vain_is_told_so(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = await led.follow()
    monkeypatch.setattr("modelyard.gateway.following.follower.NO_LEADER_S", 0.01)
    await led.leader.close()
    await eventually(lambda: not gateway.follower.can_tell)
    with pytest.raises(Unavailable, match="No server leads"):
        await gateway.acquire()


async def test_a_gateway_that_was_stopped_believes_nothing_before_it_has_looked(led: Led) -> None:
    gateway = await led.follow()
    await led.control.up()
    gateway.follower.note_sure(monotonic() - 1)
    asked = gateway.ask()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asked), 0.05)
    assert led.load() == (0, 0)
    await led.look(gateway)
    gateway.release((await led.served(asked))[0])


async def test_a_leader_that_was_stopped_gives_nothing_before_it_knows_that_it_still_leads(led: Led) -> None:
    gateway = await led.follow()
    await led.control.up()
    may_go_on: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    confirmed = False

    async def confirm() -> bool:
        nonlocal confirmed
        confirmed = await asyncio.shield(may_go_on)
        return confirmed

    await led.lead(lambda authority: replace(authority, leads=lambda: confirmed, confirm=confirm))
    await led.look(gateway)
    asked = gateway.ask()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(asked), 0.05)
    assert led.load() == (0, 0)
    may_go_on.set_result(True)
    (target,) = await led.served(asked)
    gateway.release(target)
    await led.until(lambda: led.load() == (0, 0))


async def test_a_leader_that_leads_no_more_leaves_its_gateways_to_the_next(led: Led) -> None:
    gateway = await led.follow()
    await led.control.up()

    async def no() -> bool:
        return False

    await led.lead(lambda authority: replace(authority, leads=lambda: False, confirm=no))
    await led.look(gateway)
    asked = gateway.ask()
    await eventually(lambda: not gateway.follower.can_tell)
    assert led.load() == (0, 0)
    await led.lead()
    await led.look(gateway)
    gateway.release((await led.served(asked))[0])


async def test_a_key_has_its_minute_once_more_under_the_next_leader_over_all_gateways(led: Led) -> None:
    gateways = [await led.follow(), await led.follow()]
    secret = await key_of(led)

    def ask_for_twice_as_many() -> asyncio.Future[list[Any]]:
        admitted = (gateways[number % 2].admission.admit(request_of(secret), {}) for number in range(2 * PER_MINUTE))
        return asyncio.gather(*admitted, return_exceptions=True)

    answers = [await ask_for_twice_as_many()]
    await led.leader.close()
    await eventually(lambda: not any(gateway.follower.can_tell for gateway in gateways))
    asked = ask_for_twice_as_many()  # while nobody leads
    await led.lead_anew(*gateways)
    answers += [await asked, await ask_for_twice_as_many()]

    refused = [sum(isinstance(each, RateLimited) for each in some) for some in answers]
    assert refused == [PER_MINUTE, PER_MINUTE, 2 * PER_MINUTE]


async def test_an_accounts_requests_at_once_are_limited_as_before_once_gateways_have_told_the_next_leader_of_theirs(
    led: Led,
) -> None:
    led.control.store.accounts.set_limits(led.control.account, max_concurrent=2)
    await led.lead_anew()
    one, other = await led.follow(), await led.follow()
    secret = await key_of(led, rate_limit=0)
    with ExitStack() as under_way:

        async def begin(gateway: FollowingGateway) -> None:
            _, request = await gateway.admission.admit(request_of(secret), {})
            under_way.enter_context(request)

        await begin(one)
        await begin(other)
        await led.lead_anew(one, other)
        for gateway in (one, other):
            with pytest.raises(TooManyAtOnce):
                await begin(gateway)
        await led.lead_anew(one)
        await begin(one)  # what the other one has is not known by then
        await led.look(other)
        await led.until(lambda: led.quotas.under_way() == 3)
        with pytest.raises(TooManyAtOnce):
            await begin(one)


async def test_no_more_is_set_aside_than_there_is_whoever_leads(led: Led) -> None:
    account, requests = led.control.account, led.control.store.requests
    led.control.store.accounts.add_credit(account, 10 * RESERVED_NANO)
    await led.lead_anew()
    one, other = await led.follow(), await led.follow()
    records = [record_of(account, number) for number in range(20)]

    def reserve(gateway: FollowingGateway, *of: RequestRecord) -> asyncio.Future[list[BaseException | None]]:
        return asyncio.gather(*(gateway.books.reserve(record) for record in of), return_exceptions=True)

    assert await reserve(one, *records[:4]) == [None] * 4
    await led.authority.books.reserve(records[4])  # and the server dies before it has answered
    await led.leader.close()
    await eventually(lambda: not one.follower.can_tell and not other.follower.can_tell)
    asked = asyncio.gather(reserve(one, *records[4:12]), reserve(other, *records[12:]))
    await led.lead_anew(one, other)
    first, second = await asked

    assert first[0] is None, "it was set aside once"
    refused = [error for error in first + second if error is not None]
    assert [type(error) for error in refused] == [PaymentRequired] * 10
    assert requests.spent_nano(account) == 10 * RESERVED_NANO
    one.books.settle(settled(records[0]))
    await led.control.journal.flush()
    late = await reserve(other, record_of(account, 20), record_of(account, 21))
    assert [type(error) for error in late] == [PaymentRequired] * 2, "what it has cost leaves less than one more needs"


async def test_a_leader_that_others_cannot_reach_is_told_to_say_its_machines_address(
    led: Led, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = led.seek()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{deaf.getsockname()[1]}"
        led.lease = Lease(9, "srv_9", "pid 9 on far", START, LeaderAddress(here, here, SECRET, False))

        await led.leaders[gateway]._look()
        await eventually(lambda: "pid 9 on far leads" in caplog.text)

    assert f"The server at tcp://{here} cannot be followed" in caplog.text
    assert "start it with --server-host" in caplog.text


async def test_what_is_set_aside_stays_so_for_a_gateway_that_comes_back_in_time(led: Led) -> None:
    account, requests = led.control.account, led.control.store.requests
    led.control.store.accounts.add_credit(account, 10**9)
    await led.funds.open()
    await led.lead(lambda authority: replace(authority, gone_s=0.2))
    gateway, lost = await led.follow(), await led.follow()
    records = [record_of(account, number) for number in range(2)]
    await gateway.books.reserve(records[0])
    await lost.books.reserve(records[1])
    gateway.follower.leave()
    await lost.die()
    led.leaders[gateway] = Leaders(gateway.follower, lambda: led.lease, 0)
    await led.look(gateway)
    await led.until(lambda: led.leader.claimed() == {"req_0"})
    await led.control.journal.flush()
    assert [found.outcome for each in records if (found := requests.find(each.id))] == [None, "lost"]
    gateway.books.settle(settled(records[0]))
    await led.control.journal.flush()
    await led.until(lambda: not led.leader.claimed())
    assert requests.spent_nano(account) == 5


RESERVED_NANO = 10**8


def record_of(account_id: str, number: int) -> RequestRecord:
    """A request's, for which something is to be set aside."""
    return RequestRecord(
        f"req_{number}", account_id, SMALL, 10**9, START, None, reserved_nano=RESERVED_NANO, server_id="srv_other"
    )


def settled(record: RequestRecord) -> RequestRecord:
    """As it is once the request was answered."""
    return msgspec.structs.replace(record, settled_at=START, outcome="answered", took_us=1, cost_nano=5, charged_nano=5)


async def test_who_has_led_is_followed_while_the_database_cannot_say_who_leads(led: Led) -> None:
    gateway = await led.follow()
    await led.control.up()

    def away() -> Lease:
        raise DatabaseTaken("away")

    led.leaders[gateway]._find = away
    gateway.follower.note_sure(monotonic() - 1)
    await led.look(gateway)
    gateway.release((await led.served(gateway.ask()))[0])


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> LinkTls:
    folder = tmp_path_factory.mktemp("certificates")
    loaded = load_tls(Settings(**make_certificate(folder, make_authority(folder))))
    assert loaded is not None
    return loaded


async def test_gateways_with_certificates_follow_a_leader_that_has_them(led: Led, tls: LinkTls) -> None:
    await led.lead(tls=tls)
    gateway = await led.follow(tls)
    (target,) = await led.served(gateway.ask())
    assert led.load() == (1, 0)
    gateway.release(target)
    await led.until(lambda: led.load() == (0, 0))
    assert (await led.leaders[gateway].calls_address()).http_url == "https://127.0.0.1:1"


@pytest.mark.parametrize(
    ("leads_with_tls", "words"),
    [(True, "with TLS only: set links_certificate"), (False, "clients' keys are not sent so: set links_certificate")],
)
async def test_a_gateway_and_a_leader_of_which_one_has_no_certificate_are_told_what_to_set(
    led: Led, tls: LinkTls, caplog: pytest.LogCaptureFixture, leads_with_tls: bool, words: str
) -> None:
    await led.lead(tls=tls if leads_with_tls else None)
    gateway = led.seek(None if leads_with_tls else tls)
    await led.leaders[gateway]._look()
    await eventually(lambda: words in caplog.text)
    assert not gateway.follower.can_tell
