"""API keys: made, hashed, recognised. Owns the cache of who is who; the store owns the keys."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict

from modelyard.clock import Clock
from modelyard.errors import Unauthorized
from modelyard.records.accounts import Key
from modelyard.store.store import Store

PREFIX = "my-"
SHOWN = 8
"""How much of a key is kept in the clear, to recognise it by in lists."""
CACHED_S = 5.0
"""A revoked key works at most this much longer."""
CACHE_SIZE = 10_000


def new_key() -> str:
    """A fresh key: 192 random bits, so that a plain hash of it can be stored safely."""
    return PREFIX + secrets.token_urlsafe(24)


def hash_key(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def shown_prefix(key: str) -> str:
    """The part of a key that lists show."""
    return key[:SHOWN]


def read_key(authorization: str | None) -> str | None:
    """The key in an Authorization header: `Key K`, `Bearer K` or the bare `K`; None when there is none."""
    if not authorization:
        return None
    scheme, _, rest = authorization.strip().partition(" ")
    if rest and scheme.lower() in ("key", "bearer"):
        return rest.strip()
    return None if rest else scheme


class Authenticator:
    """Turns an Authorization header into the key's record."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, tuple[Key, float]] = OrderedDict()

    def recognise(self, authorization: str | None) -> Key | None:
        """The key, if it was checked within the last seconds; asks nobody. For the hot path."""
        entry = self._known.get(authorization) if authorization else None
        if entry is None or self._clock.monotonic() - entry[1] > CACHED_S:
            return None
        return entry[0]

    async def authenticate(self, authorization: str | None) -> Key:
        """The key. Raises Unauthorized."""
        if (known := self.recognise(authorization)) is not None:
            return known
        secret = read_key(authorization)
        if authorization is None or secret is None:
            raise Unauthorized()
        began_at = self._clock.monotonic()  # before the answer: it may have been revoked since
        key = await asyncio.to_thread(self._store.keys.find_by_hash, hash_key(secret))
        if key is None:
            self._known.pop(authorization, None)
            raise Unauthorized("This API key is not known here.", cause="unknown key")
        self._known[authorization] = (key, began_at)
        self._known.move_to_end(authorization)
        while len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)
        return key
