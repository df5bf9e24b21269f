"""Sessions of the console: tokens that stand for a key for some hours, kept nowhere. Owns their form, and which of the
codes that sign in once were used.

A token names a key and when it ends, sealed with the key's hash: it is valid on every server of the store, and ends
with its key. Who reads hashes could seal one; they never leave the store. A code has the same form, for a minute: who
has a key makes one, to give a browser that in place of the key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from modelyard.errors import Unauthorized
from modelyard.records.accounts import Key
from modelyard.store.keys import Keys

SCHEME = "Session"
"""What an Authorization header of a token would begin with."""
LIFE = timedelta(hours=12)
"""A working day. It is not made longer by use: whoever has taken a cookie has it for no longer either."""
CODE_LIFE = timedelta(minutes=1)
SESSION, CODE = "console session", "console sign-in"
"""What is sealed: neither is good for the other."""


def begin(keys: Keys, key: Key, now: datetime) -> str:
    """A token for a live key. Blocking. Raises Unauthorized where it was revoked just now."""
    found = keys.find_live_with_hash(key.id)
    if found is None:
        raise Unauthorized()
    return write(SESSION, key.id, found[1], now + LIFE)


def find_key(keys: Keys, token: str, now: datetime, kind: str = SESSION) -> Key | None:
    """The key that a token stands for; None for a token that is wrong, or has ended, or whose key has. Blocking.
    `kind`: SESSION or CODE."""
    named, _, sealed = token.rpartition(".")
    end = end_of(token)
    if end is None or end <= now:
        return None
    found = keys.find_live_with_hash(named.partition(".")[0])
    if found is None or not hmac.compare_digest(seal(kind, named, found[1]).encode(), sealed.encode()):
        return None
    return found[0]


class Codes:
    """Codes that sign in once, on whichever server leads. Loop thread only."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._used: dict[str, datetime] = {}
        """When each of them ends."""

    async def take(self, code: str, now: datetime) -> Key | None:
        """The key that a code stands for, this once; None for one that is wrong, was used, or has ended, or whose key
        has."""
        key, end = await asyncio.to_thread(find_key, self._keys, code, now, CODE), end_of(code)
        if key is None or end is None or end > now + CODE_LIFE or code in self._used:
            return None
        self._used = {used: ends for used, ends in self._used.items() if ends > now} | {code: end}
        return key


def write_code(key_id: str, key_hash: str, now: datetime) -> str:
    """A code that signs in with a key within a minute."""
    return write(CODE, key_id, key_hash, now + CODE_LIFE)


def write(kind: str, key_id: str, key_hash: str, end: datetime) -> str:
    """A token or a code."""
    named = f"{key_id}.{int(end.timestamp())}"
    return f"{named}.{seal(kind, named, key_hash)}"


def end_of(token: str) -> datetime | None:
    """When a token says that it ends; None for what is no token."""
    parts = token.split(".")
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) <= 11):
        return None
    return datetime.fromtimestamp(int(parts[1]), UTC)


def seal(kind: str, named: str, key_hash: str) -> str:
    """What only those can write who know the key's hash."""
    return hmac.new(key_hash.encode(), f"{kind} {named}".encode(), hashlib.sha256).hexdigest()
