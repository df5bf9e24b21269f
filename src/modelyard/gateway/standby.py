"""What a server answers while another one leads, and how one that may not lead any more asks before it answers.

Owns the words and the check, which costs a request a look at a clock. Knows no surface: a standby knows no key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from modelyard.errors import LeaseLost, ModelyardError
from modelyard.http.exchange import JSON, App, Receive, Scope, Send

RETRY_S = 3
"""A leader that has died is followed within so long."""
UNKNOWN_S = 1.0
"""How long a request waits for the database to say who leads; then it is answered all the same."""
HEALTH = frozenset({"/health", "/livez", "/readyz"})


async def answer_as_standby(scope: Scope, receive: Receive, send: Send) -> None:
    """ASGI: health says that it is a standby, everything else is told to try again, here or at another server."""
    if scope["type"] != "http":
        return
    path = scope["path"]
    body: dict[str, str | None]
    if path in HEALTH:
        status, body = 503 if path == "/readyz" else 200, {"status": "standby"}
    else:
        words = "Another server leads, and this one waits to take its place. Ask that one, or try again in a moment."
        status, body = 503, {"error": words, "output": None}
    headers = [(b"content-type", JSON.encode())]
    if status != 200:
        headers.append((b"retry-after", str(RETRY_S).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(body)})


def answer_while_leading(app: App, held: Callable[[], bool], renew: Callable[[], Awaitable[None]]) -> App:
    """ASGI: the application, for as long as this server leads.

    `held`: whether it does for certain. Where it does not, since this process was stopped for a while or the database
    is away, `renew` asks the database.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if not held():
            try:
                async with asyncio.timeout(UNKNOWN_S):
                    await renew()
            except LeaseLost:
                return await answer_as_standby(scope, receive, send)
            except (ModelyardError, TimeoutError):
                pass  # nobody can say, and so nobody else has taken the lease: inference goes on
        return await app(scope, receive, send)

    return answer
