"""Sessions of the console: tokens that stand for a key for some hours, kept nowhere. Owns their form.

A token names a key and when it ends, sealed with the key's hash: it is valid on every server of the store, and ends
with its key. Who reads hashes could seal one; they never leave the store.
"""

from __future__ import annotations

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


def begin(keys: Keys, key: Key, now: datetime) -> str:
    """A token for a live key. Blocking. Raises Unauthorized where it was revoked just now."""
    found = keys.find_live_with_hash(key.id)
    if found is None:
        raise Unauthorized()
    named = f"{key.id}.{int((now + LIFE).timestamp())}"
    return f"{named}.{seal(named, found[1])}"


def find_key(keys: Keys, token: str, now: datetime) -> Key | None:
    """The key that a token stands for; None for a token that is wrong, or has ended, or whose key has. Blocking."""
    named, _, sealed = token.rpartition(".")
    end = end_of(token)
    if end is None or end <= now:
        return None
    found = keys.find_live_with_hash(named.partition(".")[0])
    if found is None or not hmac.compare_digest(seal(named, found[1]).encode(), sealed.encode()):
        return None
    return found[0]


def end_of(token: str) -> datetime | None:
    """When a token says that it ends; None for what is no token."""
    parts = token.split(".")
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) <= 11):
        return None
    return datetime.fromtimestamp(int(parts[1]), UTC)


def seal(named: str, key_hash: str) -> str:
    """What only those can write who know the key's hash."""
    return hmac.new(key_hash.encode(), f"console session {named}".encode(), hashlib.sha256).hexdigest()
