from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import InvalidRequest, NotFound
from modelyard.records.accounts import Account
from modelyard.store import Store
from modelyard.store.accounts import MOST_CREDIT_NANO
from tests.store.samples import at


def test_account_comes_back_as_it_was_made(store: Store) -> None:
    made = store.accounts.create("ada", at(1))

    assert made.id.startswith("acc_")
    assert (made.name, made.created_at) == ("ada", at(1))
    assert store.accounts.get(made.id) == made
    assert store.accounts.find_by_name("ada") == made


def test_account_name_is_taken_once(store: Store, account: Account) -> None:
    with pytest.raises(InvalidRequest, match="ada"):
        store.accounts.create("ada", at(1))

    assert store.accounts.list() == [account]


def test_ensure_account_makes_it_once(store: Store) -> None:
    made = store.accounts.ensure("ada", at(0))

    assert store.accounts.ensure("ada", at(9)) == made


def test_unknown_account_is_not_found(store: Store) -> None:
    assert store.accounts.find_by_name("nobody") is None
    with pytest.raises(NotFound, match="acc_0"):
        store.accounts.get("acc_0")


def test_accounts_are_listed_oldest_first(store: Store) -> None:
    for name, seconds in [("late", 5.0), ("early", 1.0), ("between", 1.000001)]:
        store.accounts.create(name, at(seconds))

    assert [account.name for account in store.accounts.list()] == ["early", "between", "late"]


def test_key_is_found_by_its_hash(store: Store, account: Account) -> None:
    made = store.keys.create(account.id, "laptop", "hash-1", "my_12", at(1))

    assert made.id.startswith("key_")
    assert store.keys.find_by_hash("hash-1") == made
    assert store.keys.find_by_hash("hash-2") is None


def test_key_hash_is_stored_once(store: Store, account: Account) -> None:
    store.keys.create(account.id, "laptop", "hash-1", "my_12", at(1))

    with pytest.raises(InvalidRequest, match="my_12"):
        store.keys.create(account.id, "again", "hash-1", "my_12", at(2))


def test_key_needs_an_account(store: Store) -> None:
    with pytest.raises(NotFound, match="account"):
        store.keys.create("acc_0", "laptop", "hash-1", "my_12", at(1))


@pytest.mark.parametrize("by", ["id", "prefix"])
def test_revoked_key_is_listed_but_never_found(store: Store, account: Account, by: str) -> None:
    key = store.keys.create(account.id, "laptop", "hash-1", "my_12", at(1))

    assert store.keys.revoke(getattr(key, by), at(5))

    assert store.keys.find_by_hash("hash-1") is None
    assert [listed.revoked_at for listed in store.keys.list()] == [at(5)]
    assert not store.keys.revoke(key.id, at(6))
    assert [listed.revoked_at for listed in store.keys.list()] == [at(5)]


def test_revoking_an_ambiguous_prefix_revokes_nothing(store: Store, account: Account) -> None:
    twins = [store.keys.create(account.id, "twin", f"hash-{n}", "my_12", at(n)) for n in range(2)]

    with pytest.raises(InvalidRequest, match=twins[1].id):
        store.keys.revoke("my_12", at(5))

    assert store.keys.list() == twins


@pytest.mark.parametrize("unknown", ["", "key_0", "my_1", "%", "\0", "\udc80"])
def test_revoking_an_unknown_key_says_so(store: Store, account: Account, unknown: str) -> None:
    key = store.keys.create(account.id, "laptop", "hash-1", "my_12", at(1))

    assert not store.keys.revoke(unknown, at(5))
    assert store.keys.find_by_hash("hash-1") == key


def test_ensure_key_makes_it_once_and_does_not_revive_it(store: Store, account: Account) -> None:
    made = store.keys.ensure(account.id, "admin", "hash-1", "my_12", at(1))
    assert store.keys.ensure(account.id, "admin", "hash-1", "my_12", at(2)) == made

    store.keys.revoke(made.id, at(3))

    assert store.keys.ensure(account.id, "admin", "hash-1", "my_12", at(4)).revoked_at == at(3)
    assert store.keys.find_by_hash("hash-1") is None


def test_keys_are_listed_by_account(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    mine = store.keys.create(account.id, "mine", "hash-1", "my_1", at(2))
    theirs = store.keys.create(other.id, "theirs", "hash-2", "my_2", at(1))

    assert store.keys.list(account.id) == [mine]
    assert store.keys.list() == [theirs, mine]


def test_only_the_limits_that_are_named_change(store: Store, account: Account) -> None:
    store.accounts.set_limits(account.id, max_instances=2, max_memory_bytes=3 * 2**40, monthly_limit_nano=10**15)

    changed = store.accounts.set_limits(account.id, max_instances=None, max_models=0, max_concurrent=7)

    assert changed == store.accounts.get(account.id)
    assert (changed.max_instances, changed.max_memory_bytes, changed.monthly_limit_nano) == (None, 3 * 2**40, 10**15)
    assert (changed.max_models, changed.max_concurrent, changed.credit_nano) == (0, 7, None)
    assert store.accounts.set_limits(account.id) == changed


def test_limits_of_nobody_and_limits_below_zero_are_refused(store: Store, account: Account) -> None:
    with pytest.raises(NotFound, match="acc_0"):
        store.accounts.set_limits("acc_0", max_models=1)
    with pytest.raises(InvalidRequest, match="max_models: got -1"):
        store.accounts.set_limits(account.id, max_models=-1)

    assert store.accounts.get(account.id) == account


@pytest.mark.parametrize(
    "name", ["max_instances", "max_memory_bytes", "max_concurrent", "max_models", "max_disk_bytes"]
)
def test_accounts_with_a_quota_are_found(store: Store, account: Account, name: str) -> None:
    store.accounts.set_limits(account.id, monthly_limit_nano=1)
    assert store.accounts.list_with_quota() == []

    limited = store.accounts.set_limits(account.id, **{name: 0})

    assert store.accounts.list_with_quota() == [limited]


def test_credit_is_added_and_taken_back_exactly(store: Store, account: Account) -> None:
    assert account.credit_nano is None
    assert store.accounts.add_credit(account.id, 1).credit_nano == 1
    assert store.accounts.add_credit(account.id, 10**18).credit_nano == 10**18 + 1
    assert store.accounts.add_credit(account.id, -(10**18) - 2).credit_nano == -1
    assert store.accounts.get(account.id).credit_nano == -1


def test_credit_that_is_added_at_once_is_all_there(store: Store, account: Account) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.accounts.add_credit(account.id, n), range(50)))

    assert store.accounts.get(account.id).credit_nano == sum(range(50))


def test_credit_of_nobody_and_more_than_can_be_stored_are_refused(store: Store, account: Account) -> None:
    with pytest.raises(NotFound, match="acc_0"):
        store.accounts.add_credit("acc_0", 1)
    store.accounts.add_credit(account.id, MOST_CREDIT_NANO)
    with pytest.raises(InvalidRequest, match="credit"):
        store.accounts.add_credit(account.id, 1)

    assert store.accounts.get(account.id).credit_nano == MOST_CREDIT_NANO


@pytest.mark.parametrize("by", ["id", "prefix"])
def test_a_keys_rate_limit_is_made_with_it_and_changed(store: Store, account: Account, by: str) -> None:
    plain = store.keys.create(account.id, "plain", "hash-1", "my_1", at(1))
    key = store.keys.create(account.id, "laptop", "hash-2", "my_2", at(1), rate_limit=30)
    assert (plain.rate_limit, key.rate_limit) == (None, 30)

    for limit in (0, 7, None):
        assert store.keys.set_rate_limit(getattr(key, by), limit)
        found = store.keys.find_by_hash("hash-2")
        assert found is not None
        assert found.rate_limit == limit
    assert store.keys.find_by_hash("hash-1") == plain


def test_the_rate_limit_of_a_key_that_is_not_live_or_not_alone_stays(store: Store, account: Account) -> None:
    for n in range(2):
        store.keys.create(account.id, "twin", f"hash-{n}", "my_12", at(n))
    ended = store.keys.create(account.id, "ended", "hash-3", "my_3", at(3))
    store.keys.revoke(ended.id, at(4))

    assert not store.keys.set_rate_limit(ended.id, 5)
    assert not store.keys.set_rate_limit("key_0", 5)
    with pytest.raises(InvalidRequest, match="one of the ids"):
        store.keys.set_rate_limit("my_12", 5)
    with pytest.raises(InvalidRequest, match="rate_limit: got -1"):
        store.keys.set_rate_limit("my_12", -1)

    assert {key.rate_limit for key in store.keys.list()} == {None}
