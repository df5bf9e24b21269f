"""Answers that go on, as server-sent events: what is new is looked for while somebody listens, and only then.

Owns how many there may be, and their end: when the client leaves, its key ends, their time is over or the server stops.
Source of the format: the HTML standard, 9.2.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import StreamingResponse

from modelyard.errors import ModelyardError, Throttled
from modelyard.gateway.credentials import of_call
from modelyard.gateway.endpoint import Authenticate
from modelyard.gateway.shapes.base import Shape, described
from modelyard.http.connections import find_connection
from modelyard.http.exchange import ClientLeft, LeavingGuard, Receive, Scope, Send

log = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Source of the second: nginx, which else holds back what is small."""
MOST_OF_ACCOUNT = 20
LOOK_S = 0.5
"""How late anything may be told."""
CHECK_KEY_S = 3.0
"""How often it is asked whether a key may still listen; its answer may be five seconds old."""
BEAT_S = 10.0
"""The longest silence: by then a proxy, and a client, know that the connection lives."""
TOLD_AT_ONCE = 500
"""Messages that are written together: what ten thousand clusters are at first, it would take milliseconds to copy."""
MOST_S = 3600
BEAT = b": nothing new\n\n"

Look = Callable[[], Awaitable[Sequence[bytes]]]
"""What is new since it was called last, as messages."""


Seconds = Annotated[
    int,
    Meta(ge=0, le=MOST_S),
    described("After how long it ends, once it has told what there is; clients then ask again."),
]


class StreamQuery(Shape, frozen=True, kw_only=True):
    """How long to listen."""

    seconds: Seconds = MOST_S


class EventStreams:
    """All that are open in one server. Loop thread only."""

    def __init__(self, authenticate: Authenticate) -> None:
        """`authenticate`: asked again and again whether who listens still may."""
        self._authenticate = authenticate
        self._open: Counter[str] = Counter()
        self._stopping = asyncio.Event()

    def answer(self, request: Request, account: str, look: Look, seconds: int) -> EventStream:
        """Such an answer to an account, for as long as what the request has shown may be used. Raises Throttled when it
        has as many as it may have."""
        if self._open[account] >= MOST_OF_ACCOUNT:
            raise Throttled(
                f"Your account listens to {MOST_OF_ACCOUNT} streams already, and there may be no more. Close one.",
                limit=MOST_OF_ACCOUNT,
                retry_after_s=1,
            )
        return EventStream(self._follow(request, account, look, seconds))

    def stop(self) -> None:
        """Ends all of them: the server is to end."""
        self._stopping.set()

    def count(self, account: str) -> int:
        """How many an account has."""
        return self._open[account]

    async def _follow(self, request: Request, account: str, look: Look, seconds: int) -> AsyncIterator[bytes]:
        self._open[account] += 1
        try:
            async with aclosing(self._tell(request, look, seconds)) as told:
                async for each in told:
                    yield each
        except ModelyardError as error:  # its key has ended, or the database is away: who asks again is told
            log.info("a stream of events ends: %s", error)
        finally:
            self._open[account] -= 1
            if not self._open[account]:
                del self._open[account]

    async def _tell(self, request: Request, look: Look, seconds: int) -> AsyncGenerator[bytes]:
        began = checked = told = monotonic()
        yield BEAT
        while not self._stopping.is_set():
            messages, now = await look(), monotonic()
            if messages or now - told >= BEAT_S:
                for begin in range(0, len(messages) or 1, TOLD_AT_ONCE):
                    yield b"".join(messages[begin : begin + TOLD_AT_ONCE]) or BEAT
                told = now
            if now - began >= seconds:
                return
            if now - checked >= CHECK_KEY_S:
                await self._authenticate(of_call(request), None)
                checked = now
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue


class EventStream(StreamingResponse):
    """One of them, which ends when its client leaves."""

    def __init__(self, told: AsyncIterator[bytes]) -> None:
        super().__init__(told, media_type=EVENT_STREAM, headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers."""
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            try:
                with LeavingGuard(receive, find_connection(scope)):
                    await self.stream_response(send)
            except ClientLeft:
                return


def message(event: str, data: Any, number: int | None = None) -> bytes:
    """One event. `number`: where to go on after it."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {event}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


def last_event_of(request: Request) -> int | None:
    """After which event a client that listens again goes on; None: it says nothing that is a number."""
    said = request.headers.get("last-event-id", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None
