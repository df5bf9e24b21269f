"""What an account has spent and has left: counted bit by bit, and never otherwise than if counted at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from modelyard.accounts.funds import COUNT_S, RECOUNT_S, UNCOUNTED_S, Funds
from modelyard.accounts.ledger import lines, month_start, total
from modelyard.errors import PaymentRequired
from modelyard.records.accounts import Account
from modelyard.records.instances import Instance, Tariff
from modelyard.records.requests import RequestRecord
from modelyard.store.store import Store
from modelyard.units import GIB
from tests.clock import START, HandClock
from tests.properties import examples
from tests.store.samples import fund

PER_S = Tariff(10**3, minimum_s=0, round_s=1)
"""A billionth of a dollar per second for one GB."""
_numbers = count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('funds')}/modelyard.db") as opened:
        yield opened


@pytest.fixture
def account(store: Store) -> Account:
    return store.accounts.create(f"ada {next(_numbers)}", START)


def begin(store: Store, account: Account, clock: HandClock) -> Instance:
    """A life of one GB that is ready at once."""
    now = clock.now()
    life = Instance(f"in_{next(_numbers)}", "cl", account.id, "org/a", "node", GIB, now, now, now, tariff=PER_S)
    store.instances.open(life)
    return life


async def test_an_account_without_credit_or_limit_costs_nothing_to_ask(store: Store, account: Account) -> None:
    funds = Funds(store, HandClock())
    await funds.open()
    assert funds.find(account.id) is None
    assert funds.refusal(account.id) is None
    funds.check(account.id)


@pytest.mark.parametrize("kind", ["credit_nano", "monthly_limit_nano"])
async def test_an_open_life_uses_it_up_and_more_of_it_counts_at_once(store: Store, account: Account, kind: str) -> None:
    clock = HandClock()
    fund(store, account, **{kind: 100})
    begin(store, account, clock)
    funds = Funds(store, clock)
    await funds.open()
    clock.advance(99)
    await funds.refresh()
    standing = funds.find(account.id)
    assert standing is not None
    assert standing.left_nano() == 1
    funds.check(account.id)
    clock.advance(COUNT_S)
    await funds.refresh()
    for _ in range(2):
        with pytest.raises(PaymentRequired, match=r"\$0\.000000109 .* of \$0\.0000001"):
            funds.check(account.id)
    fund(store, account, **{kind: 200})
    await funds.refresh()
    assert funds.refusal(account.id) is None


async def test_credit_is_added_to_what_there_is(store: Store, account: Account) -> None:
    assert store.accounts.add_credit(account.id, 5).credit_nano == 5
    assert store.accounts.add_credit(account.id, 7).credit_nano == 12
    assert account.id in {each.id for each in store.accounts.list_funded()}


async def test_a_new_month_begins_at_zero_for_the_limit_and_not_for_the_credit(store: Store, account: Account) -> None:
    clock = HandClock()
    fund(store, account, credit_nano=10**9, monthly_limit_nano=100)
    life = begin(store, account, clock)
    store.instances.end(life.id, clock.now() + timedelta(seconds=150), "idle")
    funds = Funds(store, clock)
    clock.advance(200)
    await funds.open()
    assert funds.refusal(account.id) is not None
    clock.advance(31 * 86400)
    await funds.refresh()
    standing = funds.find(account.id)
    assert standing is not None
    assert (standing.spent_nano, standing.month_nano) == (150, 0)
    assert funds.refusal(account.id) is None


async def test_after_a_crash_the_time_without_a_server_is_nobodys(store: Store, account: Account) -> None:
    clock = HandClock()
    fund(store, account, credit_nano=100)
    life = begin(store, account, clock)
    store.instances.heartbeat([life.id], clock.now() + timedelta(seconds=30))
    clock.advance(10 * 86400)
    funds = Funds(store, clock)
    await funds.open()
    first = funds.find(account.id)
    store.instances.end(life.id, life.created_at + timedelta(seconds=30), "the server was killed")
    clock.advance(COUNT_S)
    await funds.refresh()
    second = funds.find(account.id)
    assert first is not None
    assert second is not None
    assert (first.spent_nano, second.spent_nano) == (30, 30)


moves = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 5000)),
        st.tuples(st.just("request"), st.integers(0, 50)),
        st.tuples(st.just("settle"), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.sampled_from([COUNT_S, 600.0, RECOUNT_S, 86400.0, 20 * 86400.0])),
    ),
    max_size=12,
)


@examples(10, verified=400)
@given(moves)
async def test_counting_bit_by_bit_is_counting_at_once(store: Store, steps: list[tuple[str, float]]) -> None:
    """Lives may end late: recorded now, at a moment long past, as after an outage of the database."""
    clock = HandClock()
    owner = store.accounts.create(f"ada {next(_numbers)}", START)
    fund(store, owner, credit_nano=10**15, monthly_limit_nano=10**15)
    funds = Funds(store, clock)
    open_lives: list[Instance] = []
    open_requests: list[RequestRecord] = []
    await funds.open()
    for what, number in steps:
        match what:
            case "begin":
                open_lives.append(begin(store, owner, clock))
            case "end" if open_lives:
                life = open_lives.pop(0)
                store.instances.end(life.id, max(life.created_at, clock.now() - timedelta(seconds=number)), "idle")
            case "request":
                record = RequestRecord(f"req_{next(_numbers)}", owner.id, "org/a", 1, clock.now())
                record = replace(record, reserved_nano=int(number))
                store.requests.settle([record])
                open_requests.append(record)
            case "settle" if open_requests:
                settled = replace(open_requests.pop(0), settled_at=clock.now(), charged_nano=int(number))
                store.requests.settle([settled])
            case "wait":
                clock.advance(number)
        clock.advance(COUNT_S)
        await funds.refresh()
        standing = funds.find(owner.id)
        assert standing is not None
        now = clock.now()
        lives, month = store.instances.list(owner.id), month_start(now)
        assert standing.spent_nano == (total(lines(lives, now=now)).amount_nano + store.requests.spent_nano(owner.id))
        assert standing.month_nano == (
            total(lines(lives, month, now=now)).amount_nano + store.requests.spent_nano(owner.id, since=month)
        )
    fund(store, owner, credit_nano=None, monthly_limit_nano=None)  # the next example need not count it


async def test_the_least_that_instances_cost_must_be_left_for_each_that_begins(store: Store, account: Account) -> None:
    per_minute = Tariff(10**3, minimum_s=60, round_s=60)
    fund(store, account, credit_nano=130)
    funds = Funds(store, HandClock(), per_minute)
    await funds.open()
    new = (GIB, 0.0)
    assert funds.launch_refusal("nobody's", [new] * 9) is None
    assert funds.launch_refusal(account.id, [new, new]) is None
    refusal = funds.launch_refusal(account.id, [new, new, new])
    assert refusal is not None
    assert "$0.00000018 set aside" in refusal.message
    assert funds.launch_refusal(account.id, [(GIB, UNCOUNTED_S), new, new]) is None
