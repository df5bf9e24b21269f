"""What a surface adds to v2's own cost, in CPU time of this process: all but the sockets, which are the same for all.

With them, and with a model, it is measured by `python -m benchmarks surfaces`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from tests.gateway.conftest import CHAT, Gateway, answer_with
from tests.gateway.http_client import HttpClient

MESSAGES = [{"role": "user", "content": "hi"}]
ANSWER = {"role": "assistant", "content": "hello"}
REQUESTS, STREAMS, TOKENS = 300, 30, 400
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


async def added_us(asked: int, gateway: Gateway, **more: Any) -> dict[str, float]:
    """What a request takes beside v2's, in microseconds of CPU time: the least of `asked` of each, sent in turns.

    What a busy machine adds to a request, it adds to some of them only.
    """
    least = dict.fromkeys(CALLS, math.inf)
    for _ in range(asked):
        for name, so_far in least.items():
            begun_ns = time.process_time_ns()
            await ask(gateway, name, **more)
            least[name] = min(so_far, (time.process_time_ns() - begun_ns) / 1e3)
    return {name: taken_us - least["v2"] for name, taken_us in least.items()}


async def test_a_surface_adds_little_to_a_request_and_hardly_anything_to_a_token(gateway: Gateway) -> None:
    gateway.destination.answering = answer_with(ANSWER)
    added = await added_us(REQUESTS, gateway)
    assert max(added.values()) <= REQUEST_US, added

    gateway.destination.answering = answer_with(ANSWER, *["hello "] * TOKENS)
    added = await added_us(STREAMS, gateway, stream=True)
    assert max(added.values()) <= TOKENS * TOKEN_US, added
