"""`accounts`, and the rate limits of `keys`: commands that need no server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.accounts.keys import hash_key
from modelyard.cli.amounts import parse_count, parse_gigabytes, parse_money, parse_usd
from modelyard.config import DATABASE_NAME
from modelyard.errors import InvalidRequest
from modelyard.money import usd
from modelyard.records.accounts import Account
from modelyard.store.store import Store
from modelyard.units import GIB
from tests.cli.conftest import Inside, Terminal


def stored(folder: Path, name: str) -> Account:
    """An account as it is in the database."""
    with Store.open(f"sqlite:///{folder / DATABASE_NAME}") as store:
        found = store.accounts.find_by_name(name)
        assert found is not None
        return found


def listed(inside: Inside, folder: Path) -> dict[str, dict[str, Any]]:
    """What `accounts ls --json` prints, by name."""
    return {each["name"]: each for each in json.loads(inside.ok("accounts", "ls", "--json", "--data-dir", str(folder)))}


def test_an_account_is_made_limited_and_listed(inside: Inside, tmp_path: Path) -> None:
    here = ["--data-dir", str(tmp_path)]
    assert "no accounts yet" in inside.run("accounts", "ls", *here).stderr
    made = inside.ok("accounts", "create", "ada", *here).strip()
    inside.ok("accounts", "create", "bob", *here)
    assert "ada" in inside.problem("accounts", "create", "ada", *here)
    inside.ok("keys", "create", "laptop", "--account", "ada", *here)

    limits = [
        "--max-instances",
        "2",
        "--max-memory-gb",
        "1.5",
        "--max-concurrent",
        "30",
        "--max-models",
        "0",
        "--weight",
        "3",
        "--max-disk-gb",
        "2.5",
    ]
    inside.ok("accounts", "set", "ada", *limits, "--monthly-limit", "99.000000001", *here)
    ada = listed(inside, tmp_path)["ada"]
    assert ada.pop("created").endswith("Z")
    assert ada == {
        "name": "ada",
        "id": made,
        "keys": 1,
        "max_instances": 2,
        "max_memory_gb": 1.5,
        "max_concurrent": 30,
        "max_models": 0,
        "max_disk_gb": 2.5,
        "weight": 3,
        "credit_usd": None,
        "monthly_limit_usd": "99.000000001",
    }
    assert stored(tmp_path, "ada").max_memory_bytes == GIB * 3 // 2
    assert listed(inside, tmp_path)["bob"]["max_models"] is None
    table = inside.ok("accounts", "ls", *here)
    assert all(word in table for word in ("NAME", "AT ONCE", "ada", "99.000000001"))


def test_only_what_is_named_changes_and_none_lifts_a_limit(inside: Inside, tmp_path: Path) -> None:
    here = ["--data-dir", str(tmp_path)]
    made = inside.ok("accounts", "create", "ada", *here).strip()
    inside.ok("accounts", "set", "ada", "--max-models", "3", "--max-concurrent", "4", "--monthly-limit", "5", *here)
    inside.ok("accounts", "set", made, "--max-models", "none", "--monthly-limit", "none", *here)
    after = stored(tmp_path, "ada")
    assert (after.max_models, after.max_concurrent, after.monthly_limit_nano) == (None, 4, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "ada", "--max-instances", "-1"], "--max-instances: got '-1'; accepted: a whole number from 0"),
        (["set", "ada", "--max-models", "many"], "or none"),
        (["set", "ada", "--max-memory-gb", "1e3"], "--max-memory-gb"),
        (["set", "ada", "--monthly-limit", "-5"], "--monthly-limit: got '-5'; accepted: 0 or more"),
        (["set", "ada"], "--max-instances 2"),
        (["set", "carl", "--max-models", "1"], "No account is called carl; there are ada."),
        (["credit", "carl", "1"], "No account is called carl; there are ada."),
        (["credit", "ada", "1.0000000001"], "at most 9 decimals"),
        (["credit", "ada", "1e5"], "USD: got '1e5'"),
        (["create", " "], "name: got ' '"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(inside: Inside, tmp_path: Path, words: list[str], said: str) -> None:
    here = ["--data-dir", str(tmp_path)]
    inside.ok("accounts", "create", "ada", *here)
    before = stored(tmp_path, "ada")
    assert said in inside.problem("accounts", *words, *here)
    assert stored(tmp_path, "ada") == before


def test_credit_is_added_taken_back_and_printed(terminal: Terminal, inside: Inside, tmp_path: Path) -> None:
    here = ["--data-dir", str(tmp_path)]
    inside.ok("accounts", "create", "ada", *here)
    assert inside.ok("accounts", "credit", "ada", "12.5", *here) == "12.50\n"
    assert inside.ok("accounts", "credit", "ada", "0.000000001", *here) == "12.500000001\n"
    assert terminal.ok("accounts", "credit", "ada", "-13.5", *here) == "-0.999999999\n"
    assert inside.ok("accounts", "credit", *here, "--", "ada", "-1") == "-1.999999999\n"
    assert stored(tmp_path, "ada").credit_nano == -1_999_999_999
    assert listed(inside, tmp_path)["ada"]["credit_usd"] == "-1.999999999"


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("12.50", 12_500_000_000),
        ("+3", 3_000_000_000),
        ("-0.000000001", -1),
        ("1000000000", 10**18),
        ("0.1", 100_000_000),
        ("123456789.123456789", 123456789123456789),
    ],
)
def test_dollars_are_read_exactly(text: str, nano: int) -> None:
    assert parse_usd(text, "USD") == nano


@pytest.mark.parametrize(
    "text", ["", "-", "1,000", "$5", "1e3", "nan", "inf", ".5", "5.", "1 ", "1.0000000000", "1000000001", "٣", "1_0"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="USD: got"):
        parse_usd(text, "USD")


@given(st.integers(-(10**18), 10**18))
def test_an_amount_that_is_shown_can_be_read_again(nano: int) -> None:
    assert parse_usd(usd(nano), "USD") == nano


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0.00"), (5 * 10**9, "5.00"), (-1, "-0.000000001"), (10**18, f"{10**9}.00")]
)
def test_amounts_are_shown_with_two_decimals_at_least(nano: int, text: str) -> None:
    assert usd(nano) == text


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_count, "0", 0),
        (parse_count, "none", None),
        (parse_gigabytes, "0.5", GIB // 2),
        (parse_gigabytes, "none", None),
        (parse_money, "1", 10**9),
        (parse_money, "none", None),
    ],
)
def test_a_limit_is_a_number_or_the_word_none(
    parse: Callable[[str, str], int | None], text: str, value: int | None
) -> None:
    assert parse(text, "limit") == value
    for wrong in ("", "None ", "-1", "x"):
        with pytest.raises(InvalidRequest, match="limit: got"):
            parse(wrong, "limit")


def test_a_keys_rate_limit_is_made_with_it_shown_and_changed(inside: Inside, tmp_path: Path) -> None:
    here = ["--data-dir", str(tmp_path)]
    key = inside.ok("keys", "create", "ci", "--rate-limit", "30", *here).strip()
    inside.ok("keys", "create", "laptop", *here)

    def limits() -> dict[str, int | None]:
        return {each["name"]: each["rate_limit"] for each in json.loads(inside.ok("keys", "ls", "--json", *here))}

    assert limits() == {"ci": 30, "laptop": None}
    assert "PER MINUTE" in inside.ok("keys", "ls", *here)
    with Store.open(f"sqlite:///{tmp_path / DATABASE_NAME}") as store:
        found = store.keys.find_by_hash(hash_key(key))
        assert found is not None
    for written, stands_for in (("0", 0), ("12", 12), ("none", None)):
        inside.ok("keys", "set", found.id, "--rate-limit", written, *here)
        assert limits() == {"ci": stands_for, "laptop": None}
    assert "--rate-limit: got 'x'" in inside.problem("keys", "set", found.id, "--rate-limit", "x", *here)
    assert "--rate-limit N" in inside.problem("keys", "set", found.id, *here)
    assert "keys ls" in inside.problem("keys", "set", "key_0", "--rate-limit", "1", *here)
