"""Sessions of the console: what a token is worth, for how long, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from modelyard.accounts import sessions
from modelyard.accounts.attempts import MOST_AT_ONCE
from modelyard.accounts.keys import CACHED_S, UNKNOWN_S, Authenticator, hash_key, new_key
from modelyard.errors import Throttled, Unauthorized
from modelyard.records.accounts import Key
from modelyard.store.store import Store
from tests.clock import HandClock

ADDRESS = "192.0.2.7"


class Signed:
    """Two accounts with a key each, and a session of the first."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = HandClock()
        self.key = self.add("ada")
        self.other = self.add("eve")
        self.authenticator = Authenticator(store, self.clock)
        self.token = sessions.begin(store.keys, self.key, self.clock.now())

    def add(self, name: str) -> Key:
        account = self.store.accounts.create(name, self.clock.now())
        secret = new_key()
        return self.store.keys.create(account.id, "laptop", hash_key(secret), secret[:8], self.clock.now())

    def find(self, token: str) -> Key | None:
        return sessions.find_key(self.store.keys, token, self.clock.now())

    async def ask(self, token: str) -> Key:
        return await self.authenticator.authenticate(f"{sessions.SCHEME} {token}", ADDRESS)


@pytest.fixture
def signed(own_database: Path) -> Iterator[Signed]:
    with Store.open(f"sqlite:///{own_database}") as store:
        yield Signed(store)


def code_of(signed: Signed, end: timedelta = timedelta()) -> str:
    """A code of the first account's key, made so much later."""
    found = signed.store.keys.find_live_with_hash(signed.key.id)
    assert found is not None
    return sessions.write_code(signed.key.id, found[1], signed.clock.now() + end)


async def test_a_code_is_good_once_and_for_a_minute(signed: Signed) -> None:
    codes, code, other = sessions.Codes(signed.store.keys), code_of(signed), code_of(signed, -timedelta(seconds=9))
    assert await codes.take(code, signed.clock.now()) == signed.key
    assert await codes.take(code, signed.clock.now()) is None
    signed.clock.advance(sessions.CODE_LIFE.total_seconds() - 10)
    assert await codes.take(other, signed.clock.now()) == signed.key
    late = code_of(signed, -timedelta(seconds=sessions.CODE_LIFE.total_seconds()))
    assert await codes.take(late, signed.clock.now()) is None
    assert await codes.take(code_of(signed, timedelta(seconds=1)), signed.clock.now()) is None
    last = code_of(signed)
    signed.store.keys.revoke(signed.key.id, signed.clock.now())
    assert await codes.take(last, signed.clock.now()) is None


async def test_a_code_is_no_session_and_a_session_no_code(signed: Signed) -> None:
    assert signed.find(code_of(signed)) is None
    assert await sessions.Codes(signed.store.keys).take(signed.token, signed.clock.now()) is None


async def test_a_session_stands_for_its_key(signed: Signed) -> None:
    assert await signed.ask(signed.token) == signed.key
    assert signed.authenticator.recognise(f"{sessions.SCHEME} {signed.token}") == signed.key


def test_it_ends_after_its_life(signed: Signed) -> None:
    signed.clock.advance(sessions.LIFE.total_seconds() - 2)
    assert signed.find(signed.token) == signed.key
    signed.clock.advance(2)
    assert signed.find(signed.token) is None


async def test_it_ends_with_its_key(signed: Signed) -> None:
    assert await signed.ask(signed.token)
    signed.store.keys.revoke(signed.key.id, signed.clock.now())
    signed.clock.advance(CACHED_S + 0.1)
    with pytest.raises(Unauthorized, match="has ended"):
        await signed.ask(signed.token)


def test_a_revoked_key_begins_none(signed: Signed) -> None:
    signed.store.keys.revoke(signed.key.id, signed.clock.now())
    with pytest.raises(Unauthorized):
        sessions.begin(signed.store.keys, signed.key, signed.clock.now())


def test_no_part_of_it_can_be_changed(signed: Signed) -> None:
    key_id, end, seal = signed.token.split(".")
    later = str(int(end) + int(timedelta(days=1).total_seconds()))
    for changed in (
        f"{signed.other.id}.{end}.{seal}",
        f"{key_id}.{later}.{seal}",
        f"{key_id}.{end}.{seal[:-1]}{'0' if seal[-1] != '0' else '1'}",
        f"{key_id}.{end}.",
        f"{key_id}.{end}.é",
        f"{key_id}..{seal}",
        f"{key_id}.{'9' * 30}.{seal}",
        f"{key_id}.²{end[1:]}.{seal}",
        f"nobody.{end}.{seal}",
        seal,
        "..",
        "",
    ):
        assert signed.find(changed) is None, changed


async def test_it_is_no_key(signed: Signed) -> None:
    """Or a session would be exchanged for a longer one."""
    await signed.ask(signed.token)
    for shown in (
        signed.token,
        f"Key {signed.token}",
        f"Key {sessions.SCHEME} {signed.token}",
        f"Key session {signed.token}",
    ):
        with pytest.raises(Unauthorized):
            await signed.authenticator.authenticate(shown, ADDRESS)


async def test_wrong_ones_count_as_wrong_keys(signed: Signed) -> None:
    for number in range(MOST_AT_ONCE):
        with pytest.raises(Unauthorized):
            await signed.ask(f"{signed.token}{number}")
    with pytest.raises(Throttled):
        await signed.ask(f"{signed.token}x")
    signed.clock.advance(UNKNOWN_S + 60)
    assert await signed.ask(signed.token) == signed.key
