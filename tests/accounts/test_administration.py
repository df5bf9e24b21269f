"""The operator's rules about accounts, keys, limits, credit and usage, on a real database."""

from __future__ import annotations

import resource
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from modelyard.accounts.administration import Administration, ensure_cli_key
from modelyard.accounts.keys import SHOWN, hash_key
from modelyard.accounts.limits import MOST_COUNT, MOST_MEMORY_BYTES
from modelyard.config import CLI_KEY_FILE, FIRST_ACCOUNT
from modelyard.errors import InvalidRequest, NotFound, UnknownAccount, UnknownKey
from modelyard.records.accounts import AccountLimits
from modelyard.records.instances import Instance, Tariff
from modelyard.store.store import Store
from modelyard.units import GIB
from tests.clock import HandClock


@pytest.fixture
def administration(store: Store, clock: HandClock) -> Administration:
    return Administration(store, clock)


def test_a_key_for_commands_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match=str(tmp_path / CLI_KEY_FILE)):
            ensure_cli_key(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_account_is_found_by_its_name_and_by_its_id(administration: Administration) -> None:
    ada = administration.create_account("ada")
    assert administration.get_account("ada") == ada
    assert administration.get_account(ada.id) == ada


def test_a_name_wins_over_an_id(administration: Administration) -> None:
    ada = administration.create_account("ada")
    namesake = administration.create_account(ada.id)
    assert administration.get_account(ada.id) == namesake


def test_an_unknown_account_tells_which_there_are(administration: Administration) -> None:
    with pytest.raises(UnknownAccount, match="there are none yet"):
        administration.get_account("carl")
    administration.create_account("bob")
    administration.create_account("ada")
    with pytest.raises(UnknownAccount, match=r"No account is called carl; there are ada, bob\.") as caught:
        administration.set_limits("carl", {"max_models": 1})
    assert caught.value.data == {"account": "carl", "accounts": ["ada", "bob"]}
    assert isinstance(caught.value, NotFound)


@pytest.mark.parametrize("name", ["", "  "])
def test_nothing_is_called_nothing(administration: Administration, name: str) -> None:
    with pytest.raises(InvalidRequest, match="name: got"):
        administration.create_account(name)
    with pytest.raises(InvalidRequest, match="name: got"):
        administration.create_key(name)
    with pytest.raises(InvalidRequest, match="account: got"):
        administration.create_key("laptop", account=name)
    assert administration.list_accounts() == []


def test_a_taken_name_is_refused(administration: Administration) -> None:
    administration.create_account("ada")
    with pytest.raises(InvalidRequest, match="a name no other account has"):
        administration.create_account("ada")


def test_only_the_limits_that_are_named_change(administration: Administration) -> None:
    administration.create_account("ada")
    administration.set_limits("ada", {"max_models": 3, "max_memory_bytes": GIB})
    changed = administration.set_limits("ada", {"max_models": None, "max_concurrent": 0})
    assert (changed.max_models, changed.max_memory_bytes, changed.max_concurrent) == (None, GIB, 0)
    assert administration.get_account("ada") == changed


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"max_instances": -1}, "max_instances"),
        ({"max_models": MOST_COUNT + 1}, "max_models"),
        ({"max_concurrent": 1, "max_memory_bytes": MOST_MEMORY_BYTES + 1}, "max_memory_bytes"),
        ({"monthly_limit_nano": -1}, "monthly_limit_nano"),
    ],
)
def test_a_limit_out_of_bounds_is_named_and_changes_nothing(
    administration: Administration, limits: AccountLimits, field: str
) -> None:
    before = administration.create_account("ada")
    with pytest.raises(InvalidRequest, match=f"{field}: got") as caught:
        administration.set_limits("ada", limits)
    assert caught.value.data["field"] == field
    assert administration.get_account("ada") == before


def test_credit_begins_at_nothing_and_may_go_below(administration: Administration) -> None:
    ada = administration.create_account("ada")
    assert ada.credit_nano is None
    assert administration.add_credit("ada", 5).credit_nano == 5
    assert administration.add_credit(ada.id, -7).credit_nano == -2


def test_a_key_is_stored_as_its_hash_and_recognised_by_its_beginning(
    administration: Administration, store: Store
) -> None:
    made = administration.create_key("laptop", account="ada", rate_limit=30)
    assert store.keys.find_by_hash(hash_key(made.secret)) == made.key
    (listed,) = administration.list_keys("ada")
    assert (listed.key, listed.account_name) == (made.key, "ada")
    assert listed.key.prefix == made.secret[:SHOWN]
    assert listed.key.rate_limit == 30


def test_keys_are_listed_by_account_oldest_first_and_counted_while_they_live(
    administration: Administration, clock: HandClock
) -> None:
    administration.create_account("bob")
    first = administration.create_key("a", account="ada")
    clock.advance(1)
    administration.create_key("b", account="ada")
    administration.create_key("c", account="bob")
    administration.revoke_key(first.key.id)
    assert [listed.key.name for listed in administration.list_keys("ada")] == ["a", "b"]
    assert len(administration.list_keys()) == 3
    assert {each.account.name: each.live_keys for each in administration.list_accounts()} == {"ada": 1, "bob": 1}
    with pytest.raises(UnknownAccount):
        administration.list_keys("carl")


def test_a_key_that_is_not_in_use_is_unknown(administration: Administration, store: Store) -> None:
    made = administration.create_key("laptop")
    administration.set_rate_limit(made.key.prefix, 0)
    assert administration.list_keys()[0].key.rate_limit == 0
    administration.revoke_key(made.key.prefix)
    assert store.keys.find_by_hash(hash_key(made.secret)) is None
    for change in (administration.revoke_key, lambda key: administration.set_rate_limit(key, 1)):
        with pytest.raises(UnknownKey) as caught:
            change(made.key.id)
        assert caught.value.data == {"key": made.key.id}


@pytest.mark.parametrize("rate_limit", [-1, MOST_COUNT + 1])
def test_a_rate_limit_out_of_bounds_is_refused(administration: Administration, rate_limit: int) -> None:
    with pytest.raises(InvalidRequest, match="rate_limit: got"):
        administration.create_key("laptop", rate_limit=rate_limit)
    made = administration.create_key("laptop")
    with pytest.raises(InvalidRequest, match="rate_limit: got"):
        administration.set_rate_limit(made.key.id, rate_limit)
    assert len(administration.list_keys()) == 1


def test_the_first_start_makes_a_key_that_is_shown_once(administration: Administration, store: Store) -> None:
    shown = administration.ensure_first_keys(None, "my-cli")
    assert shown is not None
    for secret in (shown, "my-cli"):
        key = store.keys.find_by_hash(hash_key(secret))
        assert key is not None
        assert key.account_id == administration.get_account(FIRST_ACCOUNT).id
    assert administration.ensure_first_keys(None, "my-cli") is None
    assert len(administration.list_keys()) == 2


def test_the_operators_own_key_is_used_and_not_shown(administration: Administration, store: Store) -> None:
    assert administration.ensure_first_keys("chosen", "my-cli") is None
    assert store.keys.find_by_hash(hash_key("chosen")) is not None
    assert len(administration.list_keys()) == 2


def test_the_operators_own_key_stays_revoked(administration: Administration, store: Store) -> None:
    administration.ensure_first_keys("chosen", "my-cli")
    key = store.keys.find_by_hash(hash_key("chosen"))
    assert key is not None
    administration.revoke_key(key.id)
    administration.ensure_first_keys("chosen", "my-cli")
    assert store.keys.find_by_hash(hash_key("chosen")) is None


def test_the_key_for_commands_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    key = ensure_cli_key(tmp_path)
    assert ensure_cli_key(tmp_path) == key
    (tmp_path / CLI_KEY_FILE).write_text("")
    assert len(ensure_cli_key(tmp_path)) == len(key), "nothing is no key"
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_usage_is_of_one_account_or_of_all(administration: Administration, store: Store, clock: HandClock) -> None:
    owners = [administration.create_account(name) for name in ("ada", "bob")]
    began = clock.now()
    clock.advance(60)
    tariff = Tariff(10**3, minimum_s=0, round_s=1)
    for owner in owners:
        life = Instance(f"in_{owner.name}", "cl", owner.id, "org/a", "node", GIB, began, clock.now(), tariff=tariff)
        store.instances.open(replace(life, ready_at=began))
    clock.advance(1)
    everybody = administration.read_usage(None, None, None)
    assert everybody.names == {owner.id: owner.name for owner in owners}
    assert [line.charge.amount_nano for line in everybody.usage.lines] == [60, 60]
    for name in ("ada", owners[0].id):
        assert [line.account_id for line in administration.read_usage(name, None, None).usage.lines] == [owners[0].id]
    (row,), (used,) = administration.list_usage("ada", None, None), administration.list_used_lines("ada", None, None)
    assert (row.account, row.model, row.instances, row.seconds, row.cost_usd) == (
        "ada", "org/a", 1, "60.000000", "0.000000060",
    )  # fmt: skip
    assert (used.instance, used.gb, used.open, used.cost_usd) == ("in_ada", "1.000000", True, row.cost_usd)
    before = (began - timedelta(days=1)).isoformat()
    assert administration.read_usage("ada", before, began.isoformat()).usage.lines == []
    with pytest.raises(UnknownAccount):
        administration.read_usage("carl", None, None)
    with pytest.raises(InvalidRequest, match="since: got"):
        administration.read_usage("ada", "yesterday", None)
