"""Aliases as they last: one for each account and name, every change counted, rules asked meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import InvalidRequest, NotFound
from modelyard.records.accounts import Account
from modelyard.records.aliases import Alias
from modelyard.records.clusters import Capacity
from modelyard.store import Store
from tests.store.samples import MODEL, at

NAME = "gpt-4o-mini"


def test_an_alias_is_stored_whole_and_replaced_whole(store: Store, account: Account) -> None:
    made = store.aliases.put(account.id, NAME, MODEL, at(0), task="chat", capacity=Capacity(1, 2, 3))

    assert made == Alias(account.id, NAME, MODEL, at(0), at(0), "chat", Capacity(1, 2, 3))
    assert store.aliases.list() == [made]

    changed = store.aliases.put(account.id, NAME, "other/model", at(5))

    assert changed == Alias(account.id, NAME, "other/model", at(0), at(5))
    assert store.aliases.find(account.id, NAME) == changed


def test_accounts_have_names_of_their_own(store: Store, account: Account) -> None:
    other = store.accounts.create("bob", at(0))
    mine = store.aliases.put(account.id, NAME, MODEL, at(0))
    theirs = store.aliases.put(other.id, NAME, "other/model", at(0))

    assert store.aliases.list(account.id) == [mine]
    assert store.aliases.remove(account.id, NAME)
    assert not store.aliases.remove(account.id, NAME)
    assert store.aliases.list() == [theirs]


def test_every_change_counts_and_reading_does_not(store: Store, account: Account) -> None:
    assert store.aliases.version() == 0

    store.aliases.put(account.id, NAME, MODEL, at(0))
    store.aliases.list()
    store.aliases.remove(account.id, NAME)

    assert store.aliases.version() == 2


def test_an_account_that_is_not_there_has_none(store: Store) -> None:
    with pytest.raises(NotFound):
        store.aliases.put("acc_none", NAME, MODEL, at(0))

    assert store.aliases.version() == 0


def test_of_changes_at_once_each_sees_what_the_others_have_made(store: Store, account: Account) -> None:
    """A rule that looks at the other aliases holds, however many add some at the same time."""

    def at_most_one(others: Sequence[Alias]) -> None:
        if others:
            raise InvalidRequest("There is one already.")

    def add(number: int) -> bool:
        try:
            store.aliases.put(account.id, f"name-{number}", MODEL, at(0), check=at_most_one)
        except InvalidRequest:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(add, range(8)))

    assert made.count(True) == 1
    assert len(store.aliases.list()) == 1
