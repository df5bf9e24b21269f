"""API keys: made, hashed, recognised. Owns the cache of who is who; the store owns the keys."""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
from collections import OrderedDict
from typing import TypeVar

from modelyard.accounts import sessions
from modelyard.accounts.attempts import FailedAttempts
from modelyard.clock import Clock
from modelyard.errors import StoreUnavailable, Unauthorized
from modelyard.records.accounts import Key
from modelyard.store.store import Store

PREFIX = "my-"
SHOWN = 8
"""How much of a key is kept in the clear, to recognise it by in lists."""
CACHED_S = 5.0
"""A revoked key works at most this much longer."""
AWAY_S = 300.0
"""The same while the database is away, in which nobody can have revoked it there: inference goes on."""
ANSWER_S = 5.0
"""How long somebody whose key was known waits for a database that does not answer."""
UNKNOWN_S = 1.0
"""A key that was made after somebody tried it works at most this much later."""
CACHE_SIZE = 10_000
MAX_AUTHORIZATION_CHARS = 512
"""Longer headers hold no key of ours, even one that an operator chose; they are not looked at."""

V = TypeVar("V")


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
    if not authorization or len(authorization) > MAX_AUTHORIZATION_CHARS:
        return None
    scheme, _, rest = authorization.strip().partition(" ")
    if rest and scheme.lower() in ("key", "bearer"):
        return rest.strip()
    return None if rest else scheme or None


def digest_of(authorization: str | None) -> str | None:
    """By what a key is remembered, or a session of the console, which is never the same; None: there is neither."""
    if (secret := read_key(authorization)) is not None:
        return hash_key(secret)
    token = read_session(authorization)
    return None if token is None else f"session {hash_key(token)}"


def read_session(authorization: str | None) -> str | None:
    """The token in `Session TOKEN`, as the gateway writes a cookie; None when there is none."""
    if not authorization or len(authorization) > MAX_AUTHORIZATION_CHARS:
        return None
    scheme, _, token = authorization.partition(" ")
    return token if scheme == sessions.SCHEME else None


class Authenticator:
    """Turns an Authorization header into the key's record."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._attempts = FailedAttempts(clock)
        self._known: OrderedDict[str, tuple[Key, float]] = OrderedDict()
        """By the key's hash, which is of one size whatever was sent."""
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._away_until = -math.inf

    def recognise(self, authorization: str | None) -> Key | None:
        """The key, if it was checked within the last seconds; asks nobody. For the hot path."""
        digest = digest_of(authorization)
        return None if digest is None else self._find_cached(digest)

    async def authenticate(self, authorization: str | None, address: str | None = None) -> Key:
        """The key. `address`: of the client, whose failed attempts are counted. While the store is away, keys that were
        known within the last minutes still are.

        Raises Unauthorized, Throttled for keys never seen from an address that has tried too many, StoreUnavailable.
        """
        digest = digest_of(authorization)
        if digest is None:
            raise Unauthorized()
        if (known := self._find_cached(digest)) is not None:
            return known
        began_at = self._clock.monotonic()  # before the answer: it may have been revoked since
        if began_at - self._unknown.get(digest, -math.inf) <= UNKNOWN_S:
            raise unknown(authorization)
        known = self._find_cached(digest, AWAY_S)
        if known is not None and began_at < self._away_until:
            return known
        if digest not in self._known:
            self._attempts.check(address)
        try:
            async with asyncio.timeout(None if known is None else ANSWER_S):
                key = await asyncio.to_thread(self._find, authorization, digest)
        except (StoreUnavailable, TimeoutError):
            self._away_until = self._clock.monotonic() + CACHED_S
            if known is None:
                raise
            return known
        if key is None:
            self._attempts.note(address)
            self._known.pop(digest, None)
            keep(self._unknown, digest, began_at)
            raise unknown(authorization)
        keep(self._known, digest, (key, began_at))
        return key

    def age_s(self, authorization: str | None) -> float:
        """How long ago the key was looked up in the store; infinity for one that is not known."""
        digest = digest_of(authorization)
        entry = None if digest is None else self._known.get(digest)
        return math.inf if entry is None else self._clock.monotonic() - entry[1]

    def _find(self, authorization: str | None, digest: str) -> Key | None:
        token = read_session(authorization)
        if token is None:
            return self._store.keys.find_by_hash(digest)
        return sessions.find_key(self._store.keys, token, self._clock.now())

    def _find_cached(self, digest: str, within_s: float = CACHED_S) -> Key | None:
        entry = self._known.get(digest)
        if entry is None or self._clock.monotonic() - entry[1] > within_s:
            return None
        return entry[0]


def unknown(authorization: str | None) -> Unauthorized:
    """The error for a key that is not in the store, or a session that is none any more."""
    if read_session(authorization) is not None:
        return Unauthorized("This session of the console has ended.", cause="session")
    return Unauthorized("This API key is not known here.", cause="unknown key")


def keep(entries: OrderedDict[str, V], digest: str, value: V) -> None:
    """Puts an entry last; the first goes when there are too many."""
    entries[digest] = value
    entries.move_to_end(digest)
    while len(entries) > CACHE_SIZE:
        entries.popitem(last=False)
