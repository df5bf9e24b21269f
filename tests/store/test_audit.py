"""The audit log as it lasts: in the transaction of what it tells, in order, narrowed, pruned."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelyard.records.accounts import Account
from modelyard.records.audit import Actor, AuditLine, AuditQuery
from modelyard.store import Store
from tests.store.samples import at

ADA = Actor("http", "ada", "key_1", "10.0.0.7")
LINE = AuditLine(at(0), ADA, "key.limit", "bob", "key_2", {"rate_limit": None}, {"rate_limit": 5})


def test_a_line_is_kept_whole(store: Store) -> None:
    denied = AuditLine(at(1), Actor("command", "root"), "accounts", None, "/x", outcome="denied", reason="no key")
    store.audit.add(LINE)
    store.audit.add(denied)

    first, second = store.audit.list(AuditQuery())

    assert (first, second) == (LINE, denied)
    assert first.id < second.id


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\u202e", "x" * 100_000, "'; DROP TABLE audit; --", "%_\\"])
def test_any_text_can_be_told(store: Store, text: str) -> None:
    store.audit.add(replace(LINE, subject=text, after={"name": text}, actor=replace(ADA, name=text)))

    (line,) = store.audit.list(AuditQuery())

    assert len(line.subject) == len(text)


def test_what_is_asked_for_is_found(store: Store) -> None:
    store.audit.add(LINE)
    store.audit.add(replace(LINE, account="carl", action="key.create", at=at(5)))
    store.audit.add(replace(LINE, actor=Actor("command", "root"), action="keys.other", outcome="denied", at=at(9)))

    def found(**query: object) -> list[int]:
        return [line.id for line in store.audit.list(AuditQuery(**query))]

    ids = found()
    assert found(account="carl") == [ids[1]]
    assert found(action="key") == ids[:2]
    assert found(action="key.create") == [ids[1]]
    assert found(action="ke_") == found(action="%") == []
    assert found(actor="root") == found(outcome="denied") == [ids[2]]
    assert found(since=at(5)) == ids[1:]
    assert found(limit=1) == [ids[2]]
    assert found(after=ids[0], limit=1) == [ids[1]]
    assert found(before=ids[2], limit=1) == [ids[1]]


def test_a_line_goes_with_its_change(store: Store, account: Account) -> None:
    def fail() -> None:
        with store.audit.turn():
            store.accounts.set_limits(account.id, max_models=3)
            store.audit.add(LINE)
            assert store.accounts.get(account.id).max_models == 3, "what is written together is read together"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert store.audit.list(AuditQuery()) == []
    assert store.accounts.get(account.id) == account


def test_who_follows_misses_no_line_of_many_writers(store: Store) -> None:
    seen: list[int] = []

    def follow() -> None:
        while len(seen) < 40:
            seen.extend(line.id for line in store.audit.list(AuditQuery(after=seen[-1] if seen else 0)))

    with ThreadPoolExecutor(5) as pool:
        following = pool.submit(follow)
        for _ in range(40):
            pool.submit(store.audit.add, LINE)
        following.result()

    assert seen == sorted({*seen})


def test_old_lines_go(store: Store) -> None:
    for second in range(4):
        store.audit.add(replace(LINE, at=at(second)))

    assert store.audit.prune(at(3), 2) == 2
    assert store.audit.prune(at(3), 2) == 1
    assert store.audit.prune(at(3), 2) == 0
    assert [line.at for line in store.audit.list(AuditQuery())] == [at(3)]
