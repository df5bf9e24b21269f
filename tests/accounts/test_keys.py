"""Who a key belongs to: three ways to send it, a short memory, and no way in without one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.accounts.keys import (
    AWAY_S,
    CACHE_SIZE,
    CACHED_S,
    SHOWN,
    Authenticator,
    hash_key,
    new_key,
    read_key,
    shown_prefix,
)
from modelyard.errors import StoreUnavailable, Unauthorized
from modelyard.gateway.remedies import OPERATOR, sentence
from modelyard.records.accounts import Key
from modelyard.store.store import Store
from tests.clock import HandClock


class Gate:
    """A store with one account and one key."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = HandClock()
        self.secret = new_key()
        self.account = store.accounts.create("ada", self.clock.now())
        self.key = self.add(self.secret)
        self.authenticator = Authenticator(store, self.clock)

    def add(self, secret: str) -> Key:
        account_id = self.account.id
        return self.store.keys.create(account_id, "laptop", hash_key(secret), shown_prefix(secret), self.clock.now())

    def revoke(self) -> None:
        assert self.store.keys.revoke(self.key.id, self.clock.now())


@pytest.fixture
def gate(own_database: Path) -> Iterator[Gate]:
    with Store.open(f"sqlite:///{own_database}") as store:
        yield Gate(store)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Key abc", "abc"),
        ("key abc", "abc"),
        ("Bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        ("abc", "abc"),
        ("  abc  ", "abc"),
        ("Basic abc", None),
        ("a b c", None),
        ("", None),
        ("   ", None),
        (None, None),
    ],
)
def test_a_key_may_be_sent_in_three_ways(header: str | None, key: str | None) -> None:
    assert read_key(header) == key


@pytest.mark.parametrize("form", ["Key {}", "Bearer {}", "{}"])
async def test_a_known_key_is_recognised_in_every_form(gate: Gate, form: str) -> None:
    header = form.format(gate.secret)
    assert gate.authenticator.recognise(header) is None
    assert (await gate.authenticator.authenticate(header)).account_id == gate.account.id
    assert gate.authenticator.recognise(header) == gate.key


@pytest.mark.parametrize("header", [None, "", "Key", "Key my-nobody", "Basic abc", "Bearer ü"])
async def test_without_a_known_key_nobody_enters(gate: Gate, header: str | None) -> None:
    with pytest.raises(Unauthorized) as refusal:
        await gate.authenticator.authenticate(header)
    assert refusal.value.status == 401
    assert "modelyard keys create NAME" in sentence(refusal.value, OPERATOR)
    assert gate.authenticator.recognise(header) is None


async def test_a_revoked_key_works_for_five_seconds_at_most(gate: Gate) -> None:
    header = f"Key {gate.secret}"
    await gate.authenticator.authenticate(header)
    gate.revoke()
    gate.clock.advance(CACHED_S)
    assert gate.authenticator.recognise(header) is not None
    gate.clock.advance(0.001)
    assert gate.authenticator.recognise(header) is None
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await gate.authenticator.authenticate(header)
    assert CACHED_S <= 5


async def test_the_time_the_store_takes_counts(gate: Gate) -> None:
    header = f"Key {gate.secret}"
    asking = asyncio.create_task(gate.authenticator.authenticate(header))
    await asyncio.sleep(0)  # it has asked; now it takes three seconds until the answer is heard
    gate.clock.advance(3)
    await asking
    gate.clock.advance(2.001)
    assert gate.authenticator.recognise(header) is None


async def test_a_key_that_is_used_all_the_time_is_checked_again(gate: Gate) -> None:
    header = f"Key {gate.secret}"
    for _ in range(10):
        await gate.authenticator.authenticate(header)
        gate.clock.advance(1)
    gate.revoke()
    accepted = 0
    while gate.authenticator.recognise(header):
        await gate.authenticator.authenticate(header)
        gate.clock.advance(1)
        accepted += 1
    assert accepted <= CACHED_S
    with pytest.raises(Unauthorized):
        await gate.authenticator.authenticate(header)


async def test_the_memory_of_keys_is_bounded_and_keeps_the_latest(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.accounts.keys.CACHE_SIZE", 3)
    secrets = [new_key() for _ in range(5)]
    for secret in secrets:
        gate.add(secret)
        await gate.authenticator.authenticate(secret)
    assert [gate.authenticator.recognise(secret) is not None for secret in secrets] == [False, False, True, True, True]
    assert CACHE_SIZE >= 1000


def test_keys_are_long_unlike_and_stored_as_hashes_only(gate: Gate) -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 32
    assert gate.key.prefix == gate.secret[:SHOWN]
    assert len(gate.secret) - SHOWN >= 24
    assert gate.secret not in repr(gate.store.keys.list())
    assert hash_key(gate.secret) != gate.secret
    assert hash_key(gate.secret) == hash_key(gate.secret)


async def test_while_the_store_is_away_keys_that_were_known_of_late_still_are(gate: Gate) -> None:
    assert await gate.authenticator.authenticate(gate.secret) == gate.key
    gate.store.close()
    gate.clock.advance(CACHED_S + 1)
    assert await gate.authenticator.authenticate(gate.secret) == gate.key
    with pytest.raises(StoreUnavailable):
        await gate.authenticator.authenticate(new_key())
    gate.clock.advance(AWAY_S - CACHED_S)
    with pytest.raises(StoreUnavailable):
        await gate.authenticator.authenticate(gate.secret)


async def test_a_key_that_is_revoked_as_soon_as_the_store_is_back_works_for_five_seconds_at_most(
    gate: Gate, own_database: Path
) -> None:
    await gate.authenticator.authenticate(gate.secret)
    gate.store.close()
    gate.clock.advance(CACHED_S + 1)
    await gate.authenticator.authenticate(gate.secret)
    with Store.open(f"sqlite:///{own_database}") as back:
        gate.store = gate.authenticator._store = back
        gate.revoke()
        gate.clock.advance(CACHED_S)
        with pytest.raises(Unauthorized):
            await gate.authenticator.authenticate(gate.secret)
