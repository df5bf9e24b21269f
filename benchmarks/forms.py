"""What it costs to hold texts to a form: tokens per second of sixteen clients, free and held to a JSON schema, of the
real SmolLM2-135M on torch and as GGUF. In one run, in turns, over the links of replicas, as the server asks them.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.gguf import GIB, gguf_spec, torch_spec
from benchmarks.report import ratio, rounds, spread

CLIENTS, TOKENS, ROUNDS = 16, 48, rounds(5)
SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 40},
        "tags": {"type": "array", "items": {"enum": ["fox", "forest", "river", "tale"]}, "minItems": 2, "maxItems": 4},
        "pages": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 999}, "minItems": 100},
    },
    "required": ["title", "tags", "pages"],
    "additionalProperties": False,
}
"""Has no end within TOKENS, so that all write as many."""
AT_LEAST = {"torch": 0.90, "gguf": 0.75}


def run() -> bool:
    """Prints both comparisons; returns whether the promised bounds hold."""
    return asyncio.run(compare())


async def compare() -> bool:
    """Both runtimes, each free and held in turns."""
    from modelyard.engine.local import LocalEngine
    from modelyard.engine.machine import usable_cores
    from tests.engine.harness import Harness

    engine = LocalEngine(64 * GIB, cores=2 * usable_cores())  # two replicas, of which one works at a time
    await engine.start()
    try:
        there = Harness(engine)
        links = {"torch": await there.boot(torch_spec()), "gguf": await there.boot(gguf_spec())}
        return all([await compare_one(name, link) for name, link in links.items()])
    finally:
        await engine.close()


async def compare_one(name: str, link: Any) -> bool:
    """One runtime."""
    free, held = {"min_new_tokens": TOKENS}, {"json_schema": SCHEMA}
    speeds: dict[str, list[float]] = {"free": [], "held": []}
    for params in (free, held):
        await write(link, params)
    for _ in range(ROUNDS):
        speeds["free"].append(await write(link, free))
        speeds["held"].append(await write(link, held))
    for side, values in speeds.items():
        print(f"{f'{name}, {side}, {CLIENTS} at once':58} {spread(values, 'tok/s')}")
    return ratio(f"{name}: held against free", speeds["held"], speeds["free"], at_least=AT_LEAST[name])


async def write(link: Any, params: dict[str, Any]) -> float:
    """Tokens a second of all clients."""
    began = time.perf_counter()
    asked = [
        link.request({"text": f"A story about a fox, number {at}."}, {"max_new_tokens": TOKENS, **params}, stream=False)
        for at in range(CLIENTS)
    ]
    outcomes = await asyncio.gather(*(exchange.run() for exchange in asked))
    return sum(outcome.usage.new_tokens or 0 for outcome in outcomes) / (time.perf_counter() - began)
