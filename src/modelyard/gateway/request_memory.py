"""The server's memory for what requests bring: bodies, media that was fetched, media that was decoded from base64.

Owns who holds how much of it, and who waits for some. A request that finds it taken waits for a while, its sender with
it, since nothing of the body is read meanwhile; then it is told to try again later. Loop thread only.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from modelyard.errors import BodyTooLarge, Overloaded, TooManyAtOnce
from modelyard.units import MIB

WAIT_S = 10.0
"""How long a request waits for others to end; clients' usual deadlines are far longer."""
RETRY_AFTER_S = 2.0
LARGE_BLOCK_BYTES = MIB
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Source: malloc.h of the GNU C library."""


def return_large_blocks() -> None:
    """Has this process give large blocks of memory back to the system when they are freed.

    Left alone, the C library raises what it calls large with every block that is freed, up to 32 MiB; bodies of that
    size then stay, held by what small things lie between them. Does nothing on other systems. Source: mallopt(3).
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """The most that one request, the requests of one account, and all together may hold."""

    request_bytes: int
    account_bytes: int
    server_bytes: int


class RequestMemory:
    """What is held, by account and in all."""

    def __init__(self, limits: MemoryLimits, wait_s: float = WAIT_S) -> None:
        self._limits = limits
        self._wait_s = wait_s
        self._held: dict[str, int] = {}
        self._all = 0
        self._waiting: deque[tuple[str, int, asyncio.Future[None]]] = deque()

    @property
    def held_bytes(self) -> int:
        """What all requests hold together."""
        return self._all

    def of(self, account_id: str) -> Share:
        """A request's share, which is given back at the end of its context."""
        return Share(self, account_id)

    async def take(self, account_id: str, own_bytes: int, more_bytes: int) -> None:
        """Adds to a request that holds `own_bytes`, after those that wait. Raises BodyTooLarge, Overloaded,
        TooManyAtOnce."""
        most = self._limits.request_bytes
        if own_bytes + more_bytes > most:
            got = f"{own_bytes + more_bytes} bytes with its media"
            raise BodyTooLarge(field="body", got=got, accepted=f"at most {most} bytes", cause="memory")
        if not self._waiting and self._fits(account_id, more_bytes):
            self._add(account_id, more_bytes)
            return
        granted = asyncio.get_running_loop().create_future()
        entry = (account_id, more_bytes, granted)
        self._waiting.append(entry)
        self._grant()
        try:
            async with asyncio.timeout(self._wait_s):
                await granted
        except TimeoutError:
            raise self._refusal(account_id, more_bytes) from None
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give(account_id, more_bytes)
            raise
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._grant()

    def give(self, account_id: str, given_bytes: int) -> None:
        """Takes back what a request held."""
        self._add(account_id, -given_bytes)
        if not self._held[account_id]:
            del self._held[account_id]
        self._grant()

    def _add(self, account_id: str, more_bytes: int) -> None:
        self._held[account_id] = self._held.get(account_id, 0) + more_bytes
        self._all += more_bytes

    def _fits(self, account_id: str, more_bytes: int) -> bool:
        own = self._held.get(account_id, 0) + more_bytes
        return own <= self._limits.account_bytes and self._all + more_bytes <= self._limits.server_bytes

    def _grant(self) -> None:
        """Lets those go on that have room now, the first first. Only an account's own limit lets others pass."""
        for entry in list(self._waiting):
            account_id, more_bytes, granted = entry
            if self._fits(account_id, more_bytes):
                self._waiting.remove(entry)
                self._add(account_id, more_bytes)
                granted.set_result(None)
            elif self._all + more_bytes > self._limits.server_bytes:
                return

    def _refusal(self, account_id: str, more_bytes: int) -> TooManyAtOnce | Overloaded:
        own = self._held.get(account_id, 0)
        if own + more_bytes > self._limits.account_bytes:
            return TooManyAtOnce(
                f"Your account's requests under way hold {own // MIB} MiB of bodies and media, and may hold "
                f"{self._limits.account_bytes // MIB} MiB. Try again when some have ended.",
                retry_after_s=RETRY_AFTER_S,
            )
        return Overloaded(retry_after_s=RETRY_AFTER_S)


class Share:
    """What one request holds."""

    __slots__ = ("_account_id", "_bytes", "_memory")

    def __init__(self, memory: RequestMemory, account_id: str) -> None:
        self._memory = memory
        self._account_id = account_id
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bytes:
            self._memory.give(self._account_id, self._bytes)
            self._bytes = 0

    async def grow(self, more_bytes: int) -> None:
        """Takes more, as soon as there is room. Raises BodyTooLarge, Overloaded, TooManyAtOnce."""
        await self._memory.take(self._account_id, self._bytes, more_bytes)
        self._bytes += more_bytes
