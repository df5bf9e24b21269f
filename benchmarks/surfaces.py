"""What other APIs cost the gateway beside v2: CPU time of its process, per chat request and per streamed token, in
turns, so that a busy machine disturbs all sides alike.
"""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.models import ensure_model
from benchmarks.report import at_most, rounds

MODEL = "bench/chat"
MESSAGES = [{"role": "user", "content": "hello"}]
ROUNDS = rounds(8)
REQUESTS, STREAMS, TOKENS = 300, 20, 100
LIMIT_US, TOKEN_LIMIT_US = 60.0, 10.0
"""Most that a surface may add to a request, and to a streamed token."""

UNIFIED = {"messages": MESSAGES}
NAMED = {"model": MODEL, "messages": MESSAGES}
Call = tuple[str, dict[str, Any]]
WHOLE: dict[str, Call] = {
    "v2": (f"/models/v2/{MODEL}", {**UNIFIED, "params": {"max_new_tokens": 1, "do_sample": False}}),
    "openai": ("/v1/chat/completions", {**NAMED, "max_tokens": 1, "temperature": 0}),
    "responses": (
        "/v1/responses",
        {"model": MODEL, "input": "hello", "max_output_tokens": 1, "temperature": 0, "store": False},
    ),
    "anthropic": ("/v1/messages", {**NAMED, "max_tokens": 1, "temperature": 0}),
    "huggingface": (f"/hf/{MODEL}/v1/chat/completions", {**NAMED, "max_tokens": 1, "temperature": 0}),
}
LONG = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}
STREAMED: dict[str, Call] = {
    "v2": (f"/models/v2/{MODEL}", {**UNIFIED, "params": LONG, "stream": True}),
    "openai": (
        "/v1/chat/completions",
        {**NAMED, "max_tokens": TOKENS, "min_new_tokens": TOKENS, "temperature": 0, "stream": True},
    ),
    "responses": (
        "/v1/responses",
        {
            "model": MODEL,
            "input": "hello",
            "max_output_tokens": TOKENS,
            "min_new_tokens": TOKENS,
            "temperature": 0,
            "store": False,
            "stream": True,
        },
    ),
}


def run() -> bool:
    """Prints what each surface adds; whether all are within the limits."""
    from tests.serving import Server

    models = ensure_model(MODEL, "llama_chat")
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), models, "--rate-limit", "0") as server:
        server.run(MODEL, messages=MESSAGES)
        assert server.process is not None
        gateway = server.process.pid
        connection = http.client.HTTPConnection("localhost", server.port)

        def cost_us(call: Call, count: int) -> float:
            """CPU time of the gateway for one request, in microseconds."""
            before = cpu_us(gateway)
            for _ in range(count):
                ask(connection, *call)
            return (cpu_us(gateway) - before) / count

        within = compare(WHOLE, lambda call: cost_us(call, REQUESTS), 1, "a request", LIMIT_US)
        streamed = compare(STREAMED, lambda call: cost_us(call, STREAMS), TOKENS, "a streamed token", TOKEN_LIMIT_US)
        return within and streamed


def compare(calls: dict[str, Call], cost_us: Any, units: int, unit: str, limit_us: float) -> bool:
    """Prints what each call costs beside v2's; whether none adds more than the limit."""
    costs: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            costs[name].append(cost_us(call) / units)
    within = True
    for name, own in costs.items():
        added = statistics.median(one - other for one, other in zip(own, costs["v2"], strict=True))
        print(f"{name:12} {statistics.median(own):7.1f} us of gateway CPU {unit}, {added:+6.1f} beside v2")
        if name != "v2":
            within &= at_most(f"{unit} over {name}, CPU beside v2's", added, limit_us, "us")
    return within


def cpu_us(pid: int) -> float:
    """Microseconds that all threads of a process have run, as the kernel's scheduler counts them: to the nanosecond."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1000


def ask(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> None:
    """One request, its answer read whole."""
    from tests.serving import KEY

    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text
