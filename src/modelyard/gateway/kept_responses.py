"""Responses that are kept for their accounts: how long, how many, how large; and what each holds.

Whoever goes on from one brings its whole conversation into memory: it is bounded as a request's own body is, and so is
what many of them take.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from modelyard.clock import Clock
from modelyard.errors import BodyTooLarge, InvalidRequest, UnknownResponse
from modelyard.gateway.deferred import as_sent
from modelyard.http.exchange import Grow, count_nothing
from modelyard.records.responses import StoredResponse
from modelyard.store.responses import Responses
from modelyard.tasks import json_limits
from modelyard.units import MIB

SIZE_BYTES = 8
"""In front of what is kept, packed: how large it is unpacked."""
IN_MEMORY = 2
"""As JSON and as what is made of it: so many times its size."""


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

    async def check(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Raises InvalidRequest for a conversation that is larger than all that an account may keep, or has more values
        than a request may have."""
        raw = pack(messages)
        if len(raw) > self._limits.most_bytes:
            most = f"{self._limits.most_bytes / MIB:g} MiB"
            raise InvalidRequest(
                f"store: the conversation has {len(raw) / MIB:.1f} MiB; accepted: false for one of more than {most}",
                field="store",
            )
        try:
            await asyncio.to_thread(json_limits.check, raw, self._limits.most_bytes)
        except BodyTooLarge as error:
            got = error.data["got"]
            raise InvalidRequest(
                f"store: the conversation has {got}; accepted: false for one of so many", field="store"
            ) from None

    async def keep(self, account_id: str, response_id: str, kept: KeptResponse) -> None:
        """Keeps one; the account's oldest go where there are too many. Raises Unavailable."""
        now = self._clock.now()
        expires_at = now + timedelta(hours=self._limits.hours)

        def write() -> None:
            raw = pack(kept)
            data = len(raw).to_bytes(SIZE_BYTES) + zlib.compress(raw, 1)
            stored = StoredResponse(response_id, account_id, now, expires_at, data)
            self._store.add(stored, self._limits.most, self._limits.most_bytes)

        await asyncio.to_thread(write)

    async def get(
        self, account_id: str, response_id: str, field: str | None = None, grow: Grow = count_nothing
    ) -> KeptResponse:
        """One of the account's own. `field`: of the request, that names it; `grow` is asked before it is in memory.

        Raises UnknownResponse, and what `grow` raises.
        """
        stored = await asyncio.to_thread(self._store.find, account_id, response_id, self._clock.now())
        if stored is None:
            raise unknown(response_id, field)
        await grow(IN_MEMORY * int.from_bytes(stored.data[:SIZE_BYTES]))
        return await asyncio.to_thread(unpack, stored.data)

    async def remove(self, account_id: str, response_id: str) -> None:
        """Forgets one of the account's own. Raises UnknownResponse."""
        if not await asyncio.to_thread(self._store.remove, account_id, response_id, self._clock.now()):
            raise unknown(response_id, None)


def pack(kept: Any) -> bytes:
    """It in JSON, with the whole text of what was deferred."""
    return msgspec.json.encode(kept, enc_hook=as_sent)


def unpack(data: bytes) -> KeptResponse:
    """What was kept."""
    raw = zlib.decompress(memoryview(data)[SIZE_BYTES:])
    return msgspec.json.decode(raw, type=KeptResponse)


def unknown(response_id: str, field: str | None) -> UnknownResponse:
    """For a response that is not there, or another account's."""
    data = {} if field is None else {"field": field}
    return UnknownResponse(
        f"There is no response {response_id[:100]!r} of yours: it has expired, was deleted, or was never stored.",
        **data,
    )
