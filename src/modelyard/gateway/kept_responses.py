"""Responses that are kept for their accounts: how long, how many, how large; and what each holds."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from modelyard.clock import Clock
from modelyard.errors import InvalidRequest, UnknownResponse
from modelyard.records.responses import StoredResponse
from modelyard.store.responses import Responses
from modelyard.units import MIB


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """For how many hours responses are kept, 0: not at all; how many of an account's, and how many bytes of them."""

    hours: int
    most: int
    most_bytes: int


class KeptResponse(msgspec.Struct, frozen=True):
    """`response`: as it was answered, in JSON. `items`: what it was asked with. `messages`: the conversation with both,
    and with what went before, as a chat reads it."""

    response: msgspec.Raw
    items: Sequence[dict[str, Any]]
    messages: Sequence[dict[str, Any]]


class KeptResponses:
    """Keeps them in the store, packed. Loop thread only; the store is asked on threads of its own."""

    def __init__(self, store: Responses, clock: Clock, limits: ResponseLimits) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._limits.hours > 0 and self._limits.most > 0

    def check(self, size_bytes: int) -> None:
        """Raises InvalidRequest for a conversation that is larger than all that an account may keep."""
        if size_bytes > self._limits.most_bytes:
            most = f"{self._limits.most_bytes / MIB:g} MiB"
            raise InvalidRequest(
                f"store: the conversation has {size_bytes / MIB:.1f} MiB; accepted: false for one of more than {most}",
                field="store",
            )

    async def keep(self, account_id: str, response_id: str, kept: KeptResponse) -> None:
        """Keeps one; the account's oldest go where there are too many. Raises Unavailable."""
        now = self._clock.now()
        expires_at = now + timedelta(hours=self._limits.hours)

        def write() -> None:
            data = zlib.compress(msgspec.json.encode(kept), 1)
            stored = StoredResponse(response_id, account_id, now, expires_at, data)
            self._store.add(stored, self._limits.most, self._limits.most_bytes)

        await asyncio.to_thread(write)

    async def get(self, account_id: str, response_id: str, field: str | None = None) -> KeptResponse:
        """One of the account's own. `field`: of the request, that names it. Raises UnknownResponse."""
        stored = await asyncio.to_thread(self._store.find, account_id, response_id, self._clock.now())
        if stored is None:
            raise unknown(response_id, field)
        return await asyncio.to_thread(lambda: msgspec.json.decode(zlib.decompress(stored.data), type=KeptResponse))

    async def remove(self, account_id: str, response_id: str) -> None:
        """Forgets one of the account's own. Raises UnknownResponse."""
        if not await asyncio.to_thread(self._store.remove, account_id, response_id, self._clock.now()):
            raise unknown(response_id, None)


def unknown(response_id: str, field: str | None) -> UnknownResponse:
    """For a response that is not there, or another account's."""
    data = {} if field is None else {"field": field}
    return UnknownResponse(
        f"There is no response {response_id[:100]!r} of yours: it has expired, was deleted, or was never stored.",
        **data,
    )
