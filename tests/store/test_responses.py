"""Stored responses as they last: an account's own, within a number and a size, until they expire."""

from __future__ import annotations

from modelyard.records.accounts import Account
from modelyard.records.responses import StoredResponse
from modelyard.store import Store
from tests.store.samples import at

MOST, MOST_BYTES = 3, 100


def response(account: Account, name: str, made_s: int, size: int = 10, expires_s: int = 1000) -> StoredResponse:
    return StoredResponse(name, account.id, at(made_s), at(expires_s), b"x" * size)


def names_of(store: Store, account: Account, names: str) -> str:
    return "".join(name for name in names if store.responses.find(account.id, name, at(0)) is not None)


def test_a_response_is_found_by_its_account_until_it_expires(store: Store, account: Account) -> None:
    other = store.accounts.create("bob", at(0))
    mine = response(account, "a", 1, expires_s=50)
    assert store.responses.add(mine, MOST, MOST_BYTES) == 0

    assert store.responses.find(account.id, "a", at(49)) == mine
    assert store.responses.find(other.id, "a", at(49)) is None
    assert store.responses.find(account.id, "a", at(50)) is None
    assert not store.responses.remove(other.id, "a", at(49))
    assert not store.responses.remove(account.id, "a", at(50))
    assert store.responses.remove(account.id, "a", at(49))
    assert store.responses.find(account.id, "a", at(49)) is None


def test_beyond_a_number_the_accounts_oldest_go(store: Store, account: Account) -> None:
    other = store.accounts.create("bob", at(0))
    store.responses.add(response(other, "z", 0), MOST, MOST_BYTES)
    gone = [
        store.responses.add(response(account, name, second), MOST, MOST_BYTES) for second, name in enumerate("abcde")
    ]

    assert gone == [0, 0, 0, 1, 1]
    assert names_of(store, account, "abcde") == "cde"
    assert names_of(store, other, "z") == "z"


def test_beyond_a_size_the_accounts_oldest_go_and_the_newest_stays(store: Store, account: Account) -> None:
    for second, name in enumerate("abc"):
        store.responses.add(response(account, name, second, size=40), MOST, MOST_BYTES)
    assert names_of(store, account, "abc") == "bc"
    assert store.responses.add(response(account, "d", 3, size=500), MOST, MOST_BYTES) == 2
    assert names_of(store, account, "abcd") == "d"


def test_what_has_expired_is_pruned_oldest_first(store: Store, account: Account) -> None:
    for second, name in enumerate("abc"):
        store.responses.add(response(account, name, 0, expires_s=10 + second), MOST, MOST_BYTES)
    assert store.responses.prune(at(11), 1) == 1
    assert names_of(store, account, "abc") == "bc"
    assert store.responses.prune(at(11), 10) == 1
    assert store.responses.prune(at(11), 10) == 0
    assert names_of(store, account, "abc") == "c"
