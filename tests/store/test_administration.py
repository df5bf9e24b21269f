"""The operator's rules on both databases: what many change at once is told in an order that explains every step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.accounts.administration import Administration
from modelyard.clock import SystemClock
from modelyard.errors import InvalidRequest
from modelyard.records.audit import Actor, AuditLine, AuditQuery
from modelyard.records.clusters import Changes
from modelyard.store import Store

CHANGERS, TIMES = 4, 6


def lines(store: Store, action: str) -> list[AuditLine]:
    return [*store.audit.list(AuditQuery(action=action, limit=1000))]


def test_what_a_line_says_was_before_is_what_the_line_before_has_left(store: Store) -> None:
    """However many change one account, key and alias at once, and through whichever connections."""
    first = Administration(store, SystemClock())
    first.create_account("ada")
    key_id = first.create_key("laptop", "ada").key.id

    def change(number: int) -> None:
        rules = Administration(store, SystemClock(), Actor("command", f"user-{number}"))
        for time in range(TIMES):
            rules.set_limits("ada", {"max_models": number * TIMES + time})
            rules.add_credit("ada", 1)
            rules.set_rate_limit(key_id, number * TIMES + time)
            rules.set_alias("mine", f"org/model-{number}-{time}", "ada", capacity=Changes(max=time + 1))

    with ThreadPoolExecutor(CHANGERS) as pool:
        for done in [pool.submit(change, number) for number in range(CHANGERS)]:
            done.result()

    for action in ("account.limit", "account.credit", "key.limit"):
        told = lines(store, action)
        assert len(told) == CHANGERS * TIMES
        assert [line.before for line in told[1:]] == [line.after for line in told[:-1]], action
    told = lines(store, "alias")
    assert len(told) == CHANGERS * TIMES
    assert [line.before["model"] for line in told[1:] if line.before] == [
        line.after["model"] for line in told[:-1] if line.after
    ]
    assert first.get_account("ada").credit_nano == CHANGERS * TIMES


def test_of_one_name_asked_for_at_once_one_is_made_and_told(store: Store) -> None:
    def create(number: int) -> bool:
        try:
            Administration(store, SystemClock()).create_account("ada")
        except InvalidRequest:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(create, range(8)))

    assert made.count(True) == 1
    assert len(lines(store, "account.create")) == 1


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "é\u202e", "x" * 5000])
def test_any_name_can_be_told(store: Store, name: str) -> None:
    administration = Administration(store, SystemClock())
    made = administration.create_account(name)
    administration.set_limits(made.id, {"max_models": 1})
    assert [line.action for line in store.audit.list(AuditQuery())] == ["account.create", "account.limit"]
