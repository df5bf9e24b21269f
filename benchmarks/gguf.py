"""A real GGUF model (SmolLM2-135M, 4 bits) against torch in 32 bits and against the binding used directly, in one run:
cold boots, memory, tokens per second of one client and of sixteen, streamed and not.

Replicas run as the server runs them: workers of one engine, forked from its nursery, asked over their links. The
binding gets the prompts that a replica makes of the same conversations, from a thread for each in this process, and
what it answers is dropped there.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import ratio, rounds, spread

QUESTION = "Tell me a story about a fox who lived in the old forest by the river."
CLIENTS = 16
TOKENS, TOKENS_OF_MANY = 96, 48
BOOTS, ROUNDS = rounds(5), rounds(3)
BOOT_AT_MOST_S, MEMORY_AT_MOST_MB = 1.0, 300
ONE_AT_LEAST, MANY_AT_LEAST, OF_DIRECT_AT_LEAST = 5.0, 1.1, 0.95
GIB, MIB = 1024**3, 1024**2

Write = Callable[[int, int, bool], Awaitable[float]]
"""(clients, tokens of each, streamed) → tokens per second."""


def run() -> bool:
    """Prints all comparisons; returns whether the promised bounds hold."""
    return asyncio.run(compare())


async def compare() -> bool:
    """Boots, then runs the three in turns."""
    from modelyard.engine.local import LocalEngine
    from modelyard.engine.machine import usable_cores
    from tests.engine.harness import Harness

    engine = LocalEngine(64 * GIB, cores=2 * usable_cores())  # two replicas, of which one works at a time
    await engine.start()
    try:
        there = Harness(engine)
        boots_s = [await boot_s(there) for _ in range(BOOTS + 1)][1:]  # the first starts the nursery without torch
        print(
            f"{'cold boot to the first token, the nursery being there':58} {spread([1000 * each for each in boots_s])}"
        )
        kept = ratio("cold boot, seconds", boots_s, [1.0] * BOOTS, at_most=BOOT_AT_MOST_S)
        ours = await there.boot(gguf_spec())
        torch = await there.boot(torch_spec())
        direct = Direct()
        await check_same(ours, direct)
        sides = {"gguf": over_link(ours), "torch": over_link(torch), "direct": direct.write}
        for stream in (True, False):
            kept = await compare_speed(sides, 1, TOKENS, stream, ONE_AT_LEAST) and kept
            kept = await compare_speed(sides, CLIENTS, TOKENS_OF_MANY, stream, MANY_AT_LEAST) and kept
        peak_mb = (engine.sightings()[there.id_of(ours)].peak_bytes or 0) / MIB
        return ratio("memory after that, MB", [peak_mb], [1.0], at_most=MEMORY_AT_MOST_MB) and kept
    finally:
        await engine.close()


async def check_same(link: Any, direct: Direct) -> None:
    """Raises RuntimeError unless a replica and the binding read the same prompt and write the same text."""
    outcome = await link.request({"text": words_of(0)}, params_of(TOKENS_OF_MANY), stream=False).run()
    ours = outcome.output["content"], outcome.usage.prompt_tokens
    theirs = await asyncio.to_thread(direct.answer, 0, TOKENS_OF_MANY)
    if ours != theirs:
        raise RuntimeError(f"not the same work: {ours} and {theirs}")


async def compare_speed(sides: dict[str, Write], clients: int, tokens: int, stream: bool, at_least: float) -> bool:
    """One number of clients, in turns."""
    what = f"{clients} at once, {'streamed' if stream else 'whole'}"
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for write in sides.values():
        await write(clients, 4, stream)
    for _ in range(ROUNDS):
        for name, write in sides.items():
            speeds[name].append(await write(clients, tokens, stream))
    for name, each in speeds.items():
        print(f"{f'{name}, {what}':58} {spread(each, 'tok/s')}")
    kept = ratio(f"against torch, {what}", speeds["gguf"], speeds["torch"], at_least=at_least)
    direct = speeds["direct"]
    return ratio(f"against the binding, {what}", speeds["gguf"], direct, at_least=OF_DIRECT_AT_LEAST) and kept


async def boot_s(there: Any) -> float:
    """From the launch of a replica to its first token."""
    from tests.engine.harness import first_piece

    started = time.perf_counter()
    link = await there.boot(gguf_spec())
    exchange = link.request({"text": QUESTION}, {"max_new_tokens": 1}, stream=True)
    await first_piece(exchange)
    took_s = time.perf_counter() - started
    await there.engine.stop(there.id_of(link), 5.0)
    return took_s


def gguf_spec() -> Any:
    """A replica of the file."""
    from tests.builders import real

    return spec_of(real.smollm2_gguf().parent)


def torch_spec() -> Any:
    """A replica of the same weights in 32 bits."""
    from tests.builders import real

    return spec_of(real.smollm2())


def spec_of(folder: Path) -> Any:
    """A replica of the model in a folder, with all cores."""
    from modelyard.catalog.cards import make_card
    from modelyard.catalog.found import Found
    from modelyard.catalog.inspection import inspect_folder
    from modelyard.records.models import Source
    from modelyard.records.replicas import ReplicaSpec
    from tests.engine.harness import SECRET, new_id

    card = make_card(Found("bench/smollm2", Source.FOLDER, inspect_folder(folder), folder))
    return replace(ReplicaSpec.of(new_id(), card, folder), secret=SECRET, threads=os.cpu_count() or 1)


def words_of(at: int) -> str:
    """What client number `at` asks: no two the same."""
    return f"{QUESTION} {at}"


def params_of(tokens: int) -> dict[str, Any]:
    """Exactly so many tokens, the likeliest."""
    return {"max_new_tokens": tokens, "min_new_tokens": tokens}


def over_link(link: Any) -> Write:
    """Conversations with a replica."""

    async def write(clients: int, tokens: int, stream: bool) -> float:
        started = time.perf_counter()
        exchanges = [link.request({"text": words_of(at)}, params_of(tokens), stream=stream) for at in range(clients)]
        await asyncio.gather(*(read(exchange) for exchange in exchanges))
        return clients * tokens / (time.perf_counter() - started)

    return write


async def read(exchange: Any) -> None:
    """Takes an answer to its end."""
    async for _piece in exchange:
        pass


class Direct:
    """The binding in this process, with the settings that a replica has."""

    def __init__(self) -> None:
        from modelyard.worker.environment import QUIET_LIBRARIES

        os.environ.setdefault("GOMP_SPINCOUNT", QUIET_LIBRARIES["GOMP_SPINCOUNT"])
        import xllamacpp

        from modelyard.worker.runtimes.gguf_format import read_format
        from tests.builders import real

        settings = xllamacpp.CommonParams()
        settings.model.path = str(real.smollm2_gguf())
        settings.verbosity, settings.n_parallel, settings.n_ctx, settings.kv_unified = 0, CLIENTS, 4096, True
        settings.cache_ram_mib = settings.n_ctx_checkpoints = 0
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = os.cpu_count() or 1
        self._server = xllamacpp.Server(settings)
        self._format = read_format(real.smollm2_gguf())[1]

    def answer(self, at: int, tokens: int) -> tuple[str, int]:
        """What it writes to client number `at`, and the tokens of the prompt."""
        chunks: list[dict[str, Any]] = []
        self._server.handle_completions(self._request(at, tokens, stream=False), chunks.append)
        return chunks[0]["choices"][0]["text"], chunks[0]["usage"]["prompt_tokens"]

    async def write(self, clients: int, tokens: int, stream: bool) -> float:
        """See Write."""
        return await asyncio.to_thread(self._write, clients, tokens, stream)

    def _write(self, clients: int, tokens: int, stream: bool) -> float:
        def ask(at: int) -> None:
            self._server.handle_completions(self._request(at, tokens, stream=stream), lambda _chunk: False)

        started = time.perf_counter()
        threads = [threading.Thread(target=ask, args=(at,)) for at in range(clients)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return clients * tokens / (time.perf_counter() - started)

    def _request(self, at: int, tokens: int, *, stream: bool) -> dict[str, Any]:
        messages = [{"role": "user", "content": words_of(at)}]
        prompt = self._format.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return {"prompt": prompt, "n_predict": tokens, "temperature": 0, "ignore_eos": True, "stream": stream}
