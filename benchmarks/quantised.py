"""8-bit ONNX variants against their originals, in one run: requests per second of a 22.7M text classifier and tokens
per second of a 124M GPT-2, one request at a time, the classifier's memory, and the error of the answers.

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

from benchmarks.models import cache_dir, ensure_model
from benchmarks.report import ratio, spread

CLASSIFIER, GENERATOR = "bench/bert-23m", "bench/gpt2-124m"
KIND = "onnx.8-bit"
SENTENCE = "the cat sat on the mat and looked at the dog that was asleep by the river in the sun"
LONG = " ".join(["fox"] * 126)
PROMPT = "Once upon a time there was a small fox who lived in the old forest"
TOKENS = 48
ROUNDS = 7
REQUESTS = 40
SPEED_AT_LEAST, MEMORY_AT_MOST, ERROR_AT_MOST = 4.0, 0.45, 0.06
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Side:
    """One running worker."""

    link: Any
    pid: int


def run() -> bool:
    """Prints all four comparisons; returns whether the promised bounds hold."""
    errors = {}
    for model_id, family, task in (
        (CLASSIFIER, "bert_23m", "text-classification"),
        (GENERATOR, "gpt2_124m", "text-generation"),
    ):
        ensure_model(model_id, family)
        errors[model_id] = ensure_variant(model_id, task)
    kept = asyncio.run(compare())
    for model_id, error in errors.items():
        kept = ratio(f"logit error of {model_id}, rms / std", [error], [1.0], at_most=ERROR_AT_MOST) and kept
    return kept


def ensure_variant(model_id: str, task: str) -> float:
    """Makes the model's variant when it is not there yet; returns its logit error, at shapes not used for export."""
    from modelyard.worker.manifest import MANIFEST_FILE, read_manifest

    from modelyard.worker.variants import Order, make_variant

    target = variant_of(model_id)
    if not (target / MANIFEST_FILE).exists():
        source = cache_dir() / model_id
        order = Order(path=str(source), task=task, kind=KIND, target=str(target), model_id=model_id, threads=2)
        facts = make_variant(order, lambda step, _message: print(f"{model_id}: {step}", flush=True))
        print(f"{model_id}: made in {facts['seconds']} s, {facts['weight_bytes'] / 1e6:.0f} MB of weights")
    return read_manifest(target).logit_error


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
        kept = await compare_classifiers(harness) and kept
        return await compare_generators(harness) and kept
    finally:
        await engine.close()


async def boot(harness: Any, model_id: str, task: str, *, variant: bool) -> Side:
    """A worker that is ready."""
    from modelyard.records.replicas import ReplicaSpec
    from tests.engine.harness import SECRET, new_id

    path = variant_of(model_id) if variant else cache_dir() / model_id
    runtime = "onnx" if variant else "transformers"
    log = str(cache_dir() / "worker.log")
    spec = ReplicaSpec(new_id(), model_id, str(path), task, runtime=runtime, secret=SECRET, log_path=log)
    link = await harness.boot(spec)
    return Side(link, harness.engine.sightings()[spec.replica_id].pid)


async def compare_memory(harness: Any) -> bool:
    """Each side alone, so that neither shares with the other what it would not share in practice."""
    from tests.engine.harness import ask

    held: dict[tuple[bool, str], float] = {}
    for variant in (False, True):
        side = await boot(harness, CLASSIFIER, "text-classification", variant=variant)
        for _ in range(REQUESTS):
            await ask(side.link, SENTENCE)
        held[variant, "one at a time"] = own_memory(side)
        for _ in range(3):
            await asyncio.gather(*(ask(side.link, LONG) for _ in range(9)))
        held[variant, "batches of 8 × 128 tokens"] = own_memory(side)
        await harness.clear()
    kept = True
    for name in ("one at a time", "batches of 8 × 128 tokens"):
        ours, theirs = held[True, name], held[False, name]
        print(f"classifier, {name}: {theirs:.0f} MB original, {ours:.0f} MB 8-bit")
        kept = ratio(f"memory of the classifier, {name}", [ours], [theirs], at_most=MEMORY_AT_MOST) and kept
    return kept


def own_memory(side: Side) -> float:
    """The worker's PSS in MB."""
    from tests.peaks import pss_bytes

    return (pss_bytes(side.pid) or 0) / 1024**2


async def compare_classifiers(harness: Any) -> bool:
    """Requests per second, one at a time: of a sentence, and of 128 tokens, where less of the time is the worker's."""
    from tests.engine.harness import ask

    kept = True
    for name, text in (("a sentence", SENTENCE), ("128 tokens", LONG)):

        async def work(side: Side, text: str = text) -> float:
            for _ in range(REQUESTS):
                await ask(side.link, text)
            return REQUESTS

        rates = await race(harness, CLASSIFIER, "text-classification", work)
        kept = report(f"classifier, {name}", "requests/s", rates) and kept
    return kept


async def compare_generators(harness: Any) -> bool:
    """Tokens per second of one answer."""
    from tests.engine.harness import ask

    async def work(side: Side) -> float:
        await ask(side.link, PROMPT, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)
        return TOKENS

    return report("GPT-2", "tokens/s", await race(harness, GENERATOR, "text-generation", work))


async def race(
    harness: Any, model_id: str, task: str, work: Callable[[Side], Awaitable[float]]
) -> dict[bool, list[float]]:
    """Units of work per second of the original (False) and the variant (True), in turns, each with all cores."""
    sides = {variant: await boot(harness, model_id, task, variant=variant) for variant in (False, True)}
    rates: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(ROUNDS + 1):
        for variant, side in sides.items():
            started = time.perf_counter()
            done = await work(side)
            if turn:  # the first warms both
                rates[variant].append(done / (time.perf_counter() - started))
    await harness.clear()
    return rates


def report(name: str, unit: str, rates: dict[bool, list[float]]) -> bool:
    """Prints both sides and their ratio."""
    print(f"{f'{name}, original':40} {spread(rates[False], unit)}")
    print(f"{f'{name}, 8-bit':40} {spread(rates[True], unit)}")
    return ratio(f"{unit} of the {name}, 8-bit / original", rates[True], rates[False], at_least=SPEED_AT_LEAST)
