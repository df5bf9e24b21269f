"""What a surface adds to v2's own cost, in CPU time of this process: all but the sockets, which are the same for all.

With them, and with a model, it is measured by `python -m benchmarks surfaces`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.gateway.conftest import CHAT, Gateway, answer_with
from tests.gateway.http_client import HttpClient

MESSAGES = [{"role": "user", "content": "hi"}]
ANSWER = {"role": "assistant", "content": "hello"}
ROUNDS, REQUESTS, TOKENS = 7, 40, 400
REQUEST_US, TOKEN_US = 60.0, 10.0
"""Most that a surface may add."""
CALLS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "v2": ("", {"messages": MESSAGES}),
    "openai": ("/v1/chat/completions", {"model": CHAT, "messages": MESSAGES}),
    "responses": ("/v1/responses", {"model": CHAT, "input": "hi", "store": False}),
    "anthropic": ("/v1/messages", {"model": CHAT, "messages": MESSAGES, "max_tokens": 8}),
}


async def ask(gateway: Gateway, name: str, **more: Any) -> None:
    path, body = CALLS[name]
    client = HttpClient({**body, **more}, key=gateway.key)
    await gateway.ask(client, gateway.surfaces.at.get(path, gateway.v2), None if path else CHAT)
    assert client.status == 200


async def added_us(count: int, work: Callable[[str], Any]) -> dict[str, float]:
    """What `work` takes with each call beside v2's, for one of `count`, in microseconds of CPU time: in turns."""
    taken: dict[str, list[float]] = {name: [] for name in CALLS}
    for _ in range(ROUNDS):
        for name, own in taken.items():
            begun = time.process_time()
            await work(name)
            own.append((time.process_time() - begun) / count * 1e6)
    return {
        name: statistics.median(one - other for one, other in zip(own, taken["v2"], strict=True))
        for name, own in taken.items()
    }


async def test_a_surface_adds_little_to_a_request_and_hardly_anything_to_a_token(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with(ANSWER)

    async def whole(name: str) -> None:
        for _ in range(REQUESTS):
            await ask(gateway, name)

    added = await added_us(REQUESTS, whole)
    assert max(added.values()) <= REQUEST_US, added

    gateway.destination.answering = answer_with(ANSWER, *["hello "] * TOKENS)
    added = await added_us(TOKENS, lambda name: ask(gateway, name, stream=True))
    assert max(added.values()) <= TOKEN_US, added
