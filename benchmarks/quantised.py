"""8-bit ONNX variants of two real models against their originals, in one run: how long each takes to make, how near its
answers are, requests per second of all-MiniLM-L6-v2 and tokens per second of SmolLM2-135M-Instruct, one request at a
time, and both models' memory.

Both sides run as the server runs them: workers of one engine, forked from its nursery, asked over their links. The
memory is each worker's own PSS, as the server counts it, after requests one at a time and in batches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import cache_dir
from benchmarks.report import ratio, rounds, spread
from tests.builders import real

EMBEDDER, GENERATOR = real.MINILM, real.SMOLLM2
TASKS = {EMBEDDER: "feature-extraction", GENERATOR: "text-generation"}
KIND = "onnx.8-bit"
SENTENCE = "the cat sat on the mat and looked at the dog that was asleep by the river in the sun"
LONG = " ".join(["fox"] * 126)
PROMPT = "Once upon a time there was a small fox who lived in the old forest"
TOKENS = 48
ROUNDS = rounds(5)
REQUESTS = 40
MADE_WITHIN_S = 180.0
EMBEDDER_SPEED, GENERATOR_SPEED, GENERATOR_MEMORY = 2.2, 2.5, 0.55
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Side:
    """One running worker."""

    link: Any
    pid: int


def run() -> bool:
    """Prints all comparisons; returns whether the promised bounds hold."""
    made = [make_variant_of(model_id) for model_id in TASKS]
    return asyncio.run(compare()) and all(made)


def make_variant_of(model_id: str) -> bool:
    """Makes the model's variant; prints how long that took and the figures; returns whether it was quick enough."""
    from modelyard.engine.export import make_variant
    from modelyard.records.variants import ExportOrder, read_manifest

    source, target = real.models_dir() / model_id, variant_of(model_id)
    order = ExportOrder(
        path=str(source), task=TASKS[model_id], kind=KIND, target=str(target), model_id=model_id, threads=2
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    facts = asyncio.run(make_variant(order, lambda step: print(f"{model_id}: {step}", flush=True)))
    for figure in read_manifest(target).quality:
        print(f"{model_id}: {figure.name} {figure.value:.4f} (bound {figure.bound:g})")
    blocks = f"{facts['in_blocks']} of {facts['matrices']} matrices in blocks"
    print(f"{model_id}: {blocks}, {facts['weight_bytes'] / 1e6:.0f} MB")
    return ratio(f"seconds to make {model_id}.{KIND}", [facts["seconds"]], [1.0], at_most=MADE_WITHIN_S)


def variant_of(model_id: str) -> Path:
    """Where the variant lies."""
    return cache_dir() / f"{model_id}.{KIND}"


async def compare() -> bool:
    """Runs each pair of workers side by side, in turns."""
    from modelyard.engine.local import LocalEngine, usable_cores
    from tests.engine.harness import Harness

    engine = LocalEngine(64 * GIB, cores=2 * usable_cores())  # two workers, of which one works at a time
    await engine.start()
    try:
        harness = Harness(engine)
        kept = await compare_memory(harness)
        kept = await compare_embedders(harness) and kept
        return await compare_generators(harness) and kept
    finally:
        await engine.close()


async def boot(harness: Any, model_id: str, *, variant: bool) -> Side:
    """A worker that is ready."""
    from modelyard.records.replicas import ReplicaSpec
    from tests.engine.harness import SECRET, new_id

    path = variant_of(model_id) if variant else real.models_dir() / model_id
    runtime = "onnx" if variant else "transformers"
    log = str(cache_dir() / "worker.log")
    spec = ReplicaSpec(new_id(), model_id, str(path), TASKS[model_id], runtime=runtime, secret=SECRET, log_path=log)
    link = await harness.boot(spec)
    return Side(link, harness.engine.sightings()[spec.replica_id].pid)


async def compare_memory(harness: Any) -> bool:
    """Each side alone, so that neither shares with the other what it would not share in practice."""
    kept = True
    for model_id, params in ((EMBEDDER, {}), (GENERATOR, {"max_new_tokens": TOKENS})):
        held: dict[tuple[bool, str], float] = {}
        for variant in (False, True):
            side = await boot(harness, model_id, variant=variant)
            held[variant, "one at a time"] = await hold(side, 1, SENTENCE, params)
            held[variant, "batches of 8 × 128 tokens"] = await hold(side, 9, LONG, params)
            await harness.clear()
        for name in ("one at a time", "batches of 8 × 128 tokens"):
            ours, theirs = held[True, name], held[False, name]
            print(f"{model_id}, {name}: {theirs:.0f} MB original, {ours:.0f} MB 8-bit")
            promised = GENERATOR_MEMORY if (model_id, name) == (GENERATOR, "one at a time") else None
            kept = ratio(f"memory of {model_id}, {name}", [ours], [theirs], at_most=promised) and kept
    return kept


async def hold(side: Side, at_once: int, text: str, params: dict[str, Any]) -> float:
    """The worker's memory in MB after a few such requests."""
    from tests.engine.harness import ask

    for _ in range(3):
        await asyncio.gather(*(ask(side.link, text, **params) for _ in range(at_once)))
    return own_memory(side)


def own_memory(side: Side) -> float:
    """The worker's PSS in MB."""
    from tests.peaks import pss_bytes

    return (pss_bytes(side.pid) or 0) / 1024**2


async def compare_embedders(harness: Any) -> bool:
    """Requests per second, one at a time: of a sentence, and of 128 tokens, where less of the time is the worker's."""
    from tests.engine.harness import ask

    kept = True
    for name, text in (("a sentence", SENTENCE), ("128 tokens", LONG)):

        async def work(side: Side, text: str = text) -> float:
            for _ in range(REQUESTS):
                await ask(side.link, text)
            return REQUESTS

        rates = await race(harness, EMBEDDER, work)
        kept = report(f"MiniLM, {name}", "requests/s", rates, EMBEDDER_SPEED) and kept
    return kept


async def compare_generators(harness: Any) -> bool:
    """Tokens per second of one answer."""
    from tests.engine.harness import ask

    async def work(side: Side) -> float:
        await ask(side.link, PROMPT, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)
        return TOKENS

    return report("SmolLM2", "tokens/s", await race(harness, GENERATOR, work), GENERATOR_SPEED)


async def race(harness: Any, model_id: str, work: Callable[[Side], Awaitable[float]]) -> dict[bool, list[float]]:
    """Units of work per second of the original (False) and the variant (True), in turns, each with all cores."""
    sides = {variant: await boot(harness, model_id, variant=variant) for variant in (False, True)}
    rates: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(ROUNDS + 1):
        for variant, side in sides.items():
            started = time.perf_counter()
            done = await work(side)
            if turn:  # the first warms both
                rates[variant].append(done / (time.perf_counter() - started))
    await harness.clear()
    return rates


def report(name: str, unit: str, rates: dict[bool, list[float]], at_least: float) -> bool:
    """Prints both sides and their ratio."""
    print(f"{f'{name}, original':40} {spread(rates[False], unit)}")
    print(f"{f'{name}, 8-bit':40} {spread(rates[True], unit)}")
    return ratio(f"{unit} of {name}, 8-bit / original", rates[True], rates[False], at_least=at_least)
