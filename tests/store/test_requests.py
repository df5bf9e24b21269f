"""Requests are set aside for and settled once, whoever writes, in whatever order, however often."""

from datetime import UTC, date, timedelta, timezone, tzinfo
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy.exc import StatementError

from modelyard.accounts.limits import check_funds
from modelyard.errors import NotFound, PaymentRequired
from modelyard.records.accounts import Account
from modelyard.records.requests import RequestRecord
from modelyard.store import Store
from modelyard.store.requests import KeyTotals, Past, RequestTotals
from tests.properties import examples
from tests.store.program import Program, run_together
from tests.store.samples import MODEL, OTHER_SERVER, SERVER, START, at, fund

NOTHING_YET = Past(START - timedelta(days=1), 0, START - timedelta(days=1), 0)
_numbers = count(1)


def asked(account: Account, seconds: float = 0, **more: Any) -> RequestRecord:
    """A request that has come and is not settled."""
    record = RequestRecord(f"req_{next(_numbers)}", account.id, MODEL, 500, at(seconds), key_id="key_1")
    return replace(record, **more)


def done(record: RequestRecord, charged: int = 0, **more: Any) -> RequestRecord:
    """The same request, settled."""
    settled = replace(
        record, settled_at=at(100), outcome="answered", instance_id="in_1", took_us=7, cost_nano=9, charged_nano=charged
    )
    return replace(settled, **more)


def test_a_settled_request_is_found_as_it_was_entered(store: Store, account: Account) -> None:
    record = done(asked(account, took_us=2**40), 5, prompt_tokens=7, new_tokens=2**40)
    store.requests.settle([record])
    assert store.requests.find(record.id) == record
    assert store.requests.find("req_0") is None


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-7))])
def test_a_request_of_a_whole_second_is_found_by_when_it_came(store: Store, account: Account, zone: tzinfo) -> None:
    moment = START.replace(microsecond=0)
    store.requests.settle([done(asked(account, at=moment.astimezone(zone)), 5)])
    assert store.requests.spent_nano(account.id, since=moment) == 5
    assert store.requests.spent_nano(account.id, until=moment) == 0
    assert store.requests.spent_nano(account.id, since=moment + timedelta(microseconds=1)) == 0
    assert [total.day for total in store.requests.totals(account.id)] == [moment.date()]


def test_a_request_without_a_time_zone_is_not_settled(store: Store, account: Account) -> None:
    with pytest.raises((ValueError, StatementError), match="naive"):
        store.requests.settle([done(asked(account, at=START.replace(tzinfo=None)))])


def test_the_first_settlement_wins(store: Store, account: Account) -> None:
    first = done(asked(account), 5)
    store.requests.settle([first])
    store.requests.settle([replace(first, charged_nano=500, outcome="failed"), other := done(asked(account), 1)])
    store.requests.settle([])
    assert store.requests.find(first.id) == first
    assert store.requests.find(other.id) == other
    assert store.requests.spent_nano(account.id) == 6


def test_what_is_set_aside_counts_as_spent_until_it_is_settled(store: Store, account: Account) -> None:
    fund(store, account, credit_nano=100)
    record = asked(account, reserved_nano=60)
    store.requests.reserve(record, NOTHING_YET, check_funds)
    assert store.requests.find(record.id) == record
    assert store.requests.spent_nano(account.id) == 60
    with pytest.raises(PaymentRequired, match="set aside"):
        store.requests.reserve(asked(account, reserved_nano=41), NOTHING_YET, check_funds)
    store.requests.settle([done(record, 10)])
    assert store.requests.find(record.id) == done(record, 10)
    assert store.requests.spent_nano(account.id) == 10
    store.requests.reserve(asked(account, reserved_nano=90), NOTHING_YET, check_funds)


def test_reserving_an_id_again_changes_nothing(store: Store, account: Account) -> None:
    fund(store, account, credit_nano=100)
    record = asked(account, reserved_nano=60)
    for _ in range(3):
        store.requests.reserve(record, NOTHING_YET, check_funds)
    assert store.requests.spent_nano(account.id) == 60
    store.requests.settle([done(record, 100)])
    store.requests.reserve(record, NOTHING_YET, check_funds)
    assert store.requests.find(record.id) == done(record, 100)


@pytest.mark.parametrize(("credit", "limit"), [(100, None), (None, 100), (100, 100), (1000, 100)])
def test_what_was_spent_before_and_this_month_count(
    store: Store, account: Account, credit: int | None, limit: int | None
) -> None:
    fund(store, account, credit_nano=credit, monthly_limit_nano=limit)
    store.requests.settle([done(asked(account, -10), 1000), done(asked(account, 10), 30)])
    past = Past(since=at(0), spent_nano=40, month_start=at(-5), month_nano=40)
    with pytest.raises(PaymentRequired):
        store.requests.reserve(asked(account, 20, reserved_nano=31), past, check_funds)
    store.requests.reserve(asked(account, 20, reserved_nano=30), past, check_funds)


def test_a_month_that_began_after_the_past_counts_only_its_own(store: Store, account: Account) -> None:
    fund(store, account, monthly_limit_nano=100)
    store.requests.settle([done(asked(account, 1), 1000), done(asked(account, 10), 30)])
    past = Past(since=at(0), spent_nano=0, month_start=at(5), month_nano=0)
    store.requests.reserve(asked(account, 20, reserved_nano=70), past, check_funds)


def test_an_account_that_is_not_there_reserves_nothing(store: Store, account: Account) -> None:
    with pytest.raises(NotFound, match="account"):
        store.requests.reserve(replace(asked(account), account_id="acc_0"), NOTHING_YET, check_funds)


def test_what_a_killed_server_had_set_aside_is_free_again(store: Store, account: Account) -> None:
    fund(store, account, credit_nano=100)
    left, settled = asked(account, reserved_nano=60), done(asked(account), 5)
    store.requests.reserve(left, NOTHING_YET, check_funds)
    store.requests.settle([settled])
    assert store.requests.oldest_open(account.id) == left.at
    assert store.requests.settle_left_over(SERVER, at(200)) == 1
    assert store.requests.settle_left_over(SERVER, at(300)) == 0
    assert store.requests.find(left.id) == replace(left, settled_at=at(200), outcome="lost")
    assert store.requests.find(settled.id) == settled
    assert store.requests.spent_nano(account.id) == 5
    assert store.requests.oldest_open(account.id) is None


def test_what_another_server_has_set_aside_stays_so(store: Store, account: Account) -> None:
    fund(store, account, credit_nano=100)
    records = [
        replace(asked(account, reserved_nano=20), server_id=server_id) for server_id in (SERVER, OTHER_SERVER, None)
    ]
    for record in records:
        store.requests.reserve(record, NOTHING_YET, check_funds)

    assert store.requests.settle_left_over(SERVER, at(200)) == 2

    outcomes = [found.outcome for record in records if (found := store.requests.find(record.id))]
    assert outcomes == ["lost", None, "lost"]
    assert store.requests.spent_nano(account.id) == 20


def test_the_one_server_frees_what_others_have_set_aside(store: Store, account: Account) -> None:
    fund(store, account, credit_nano=100)
    records = [replace(asked(account, reserved_nano=20), server_id=server_id) for server_id in (SERVER, OTHER_SERVER)]
    for record in records:
        store.requests.reserve(record, NOTHING_YET, check_funds)

    assert store.requests.settle_those_of_others(SERVER, at(200)) == 1

    assert [found.outcome for record in records if (found := store.requests.find(record.id))] == [None, "lost"]
    assert store.requests.spent_nano(account.id) == 20


def test_what_nobody_goes_on_with_is_free_again(store: Store, account: Account) -> None:
    fund(store, account, credit_nano=100)
    kept, left, fresh = (asked(account, at_s, reserved_nano=20) for at_s in (0, 0, 150))
    for record in (kept, left, fresh):
        store.requests.reserve(record, NOTHING_YET, check_funds)

    assert store.requests.settle_unclaimed([kept.id], before=at(100), now=at(200)) == 1

    outcomes = [found.outcome for record in (kept, left, fresh) if (found := store.requests.find(record.id))]
    assert outcomes == [None, "lost", None]
    assert store.requests.spent_nano(account.id) == 40


def test_totals_are_for_each_account_model_and_utc_day(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    day = 86400
    store.requests.settle(
        [
            done(asked(account, 0), 1),
            done(asked(account, 43199), 2),  # the last second of the day
            done(asked(account, day), 3, model_id="org/b"),
            done(asked(account, day), 4, model_id="org/b"),
            done(asked(other, 0), 5),
        ]
    )
    store.requests.settle([replace(asked(account), settled_at=None)])
    first, second = date(2026, 3, 1), date(2026, 3, 2)
    mine = [
        RequestTotals(account.id, MODEL, first, 2, 14, 18, 3),
        RequestTotals(account.id, "org/b", second, 2, 14, 18, 7),
    ]
    theirs = [RequestTotals(other.id, MODEL, first, 1, 7, 9, 5)]
    assert store.requests.totals(account.id) == mine
    assert store.requests.totals(None) == sorted(mine + theirs, key=lambda each: each.account_id)
    assert store.requests.totals(account.id, "org/b") == mine[1:]
    assert store.requests.totals(account.id, since=at(day)) == mine[1:]
    assert store.requests.totals(account.id, until=at(day)) == mine[:1]


def test_totals_are_told_by_key_too(store: Store, account: Account) -> None:
    other, day = store.accounts.create("grace", at(0)), 86400
    store.requests.settle(
        [
            done(asked(account, 0, key_id="key_2"), 1),
            done(asked(account, day, key_id="key_2"), 2, model_id="org/b"),
            done(asked(account, 0), 3),
            done(asked(other, 0), 5),
        ]
    )
    store.requests.settle([replace(asked(account), settled_at=None)])
    first, second = KeyTotals("key_1", 1, 7, 9, 3), KeyTotals("key_2", 2, 14, 18, 3)
    assert store.requests.totals_by_key(account.id) == [first, second]
    assert store.requests.totals_by_key(account.id, "org/b") == [KeyTotals("key_2", 1, 7, 9, 2)]
    assert store.requests.totals_by_key(account.id, until=at(day)) == [first, KeyTotals("key_2", 1, 7, 9, 1)]


def test_prune_keeps_what_is_charged_or_under_way(store: Store, account: Account) -> None:
    free, charged, recent = done(asked(account)), done(asked(account), 1), done(asked(account, 50))
    free_too, under_way = done(asked(account)), asked(account)
    store.requests.settle([free, free_too, charged, recent, under_way])
    assert [store.requests.prune(at(10), limit=1) for _ in range(3)] == [1, 1, 0]
    kept = [store.requests.find(each.id) for each in (free, free_too, charged, recent, under_way)]
    assert kept == [None, None, charged, recent, under_way]


def test_processes_together_never_set_aside_more_than_there_is(
    store: Store, account: Account, url: str, processes: list[Program]
) -> None:
    fund(store, account, credit_nano=1000)
    given = sum(run_together(processes, url, "reserve_until_refused", account.id, 30))
    assert given == 33
    assert store.requests.spent_nano(account.id) == 990


def test_processes_settling_the_same_requests_charge_each_once(
    store: Store, account: Account, url: str, processes: list[Program]
) -> None:
    ids = [f"req_same_{n}" for n in range(60)]
    run_together(processes, url, "settle_each", account.id, ids, 3)
    assert store.requests.spent_nano(account.id) == 60 * 7


calls = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle"]), st.integers(0, 5), st.integers(0, 40), st.integers(0, 40)),
    max_size=20,
)


@examples(15)
@given(calls)
def test_any_order_of_calls_charges_each_request_once(store: Store, steps: list[tuple[str, int, int, int]]) -> None:
    """Against a plain dictionary: id → (reserved, charged or None)."""
    account = store.accounts.create(f"any {next(_numbers)}", at(0))
    fund(store, account, credit_nano=100)
    expected: dict[str, tuple[int, int | None]] = {}

    def spent() -> int:
        return sum(reserved if charged is None else charged for reserved, charged in expected.values())

    for what, number, reserved, charged in steps:
        record = RequestRecord(f"{account.id}_{number}", account.id, MODEL, 1, at(0))
        if what == "settle":
            store.requests.settle([done(record, charged)])
            before = expected.get(record.id, (0, None))
            expected[record.id] = (before[0], charged if before[1] is None else before[1])
        elif record.id in expected or spent() + max(1, reserved) <= 100:
            store.requests.reserve(replace(record, reserved_nano=reserved), NOTHING_YET, check_funds)
            expected.setdefault(record.id, (reserved, None))
        else:
            with pytest.raises(PaymentRequired):
                store.requests.reserve(replace(record, reserved_nano=reserved), NOTHING_YET, check_funds)
    assert store.requests.spent_nano(account.id) == spent()
