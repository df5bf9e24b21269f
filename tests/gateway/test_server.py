"""How a process's HTTP server waits while nobody asks anything of it."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import uvicorn

from modelyard.gateway import server
from modelyard.http.exchange import Receive, Scope, Send
from modelyard.http.server import listen, url_of


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_it_ends_as_soon_as_it_is_told_to_and_does_not_look_whether_it_is_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: defaultdict[Any, list[int]] = defaultdict(list)  # of each server that runs in this process by now
    look = uvicorn.Server.on_tick

    async def counted(self: Any, counter: int) -> bool:
        looks[self].append(counter)
        return await look(self, counter)

    monkeypatch.setattr(uvicorn.Server, "on_tick", counted)
    monkeypatch.setattr(server, "DATE_S", 3600.0)
    async with AsyncExitStack() as stack, httpx.AsyncClient() as client:
        listener = stack.enter_context(listen("127.0.0.1", 0))
        server.serve_beside(stack, answer, listener)
        answered = await client.get(url_of(listener))
    assert answered.headers["date"]
    assert [0, 0] in looks.values(), "once when it began, and once when it was told"
