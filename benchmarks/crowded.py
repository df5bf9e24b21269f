"""Twelve models that need three times the memory there is, and eight clients who each ask one of them at random.

Rounds alternate between this checkout and another one (MODELYARD_AGAINST, its src folder; without it, this one alone).
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfile
from statistics import median, quantiles

from benchmarks.models import cache_dir, ensure_model
from benchmarks.report import ratio, rounds
from tests.e2e.loadgen import encode, read_answer
from tests.serving import Server

SOURCE = Path(__file__).parents[1] / "src"
MODELS = [f"crowd/model-{number}" for number in range(12)]
MEMORY_GB = "1"
"""Five of them fit: each is planned with 0.19 GB."""
CLIENTS = 8
ROUND_S = 20.0
ROUNDS = rounds(3)
AT_LEAST = 2.0
"""Times the answers of the other checkout."""


def run() -> bool:
    """Prints answers a second and waits; whether there are as many as promised."""
    models = ensure_models()
    sources = {"this checkout": str(SOURCE)}
    if other := os.environ.get("MODELYARD_AGAINST"):
        sources["the other one"] = other
    rates: dict[str, list[float]] = {name: [] for name in sources}
    with ExitStack() as stack:
        servers = {name: start(stack, models, source) for name, source in sources.items()}
        for number in range(ROUNDS):
            for name, server in servers.items():
                waits_s = asyncio.run(ask_at_random(server.port, number))
                rates[name].append(len(waits_s) / ROUND_S)
                tail_s = quantiles(waits_s, n=100)[98]
                figures = f"{rates[name][-1]:6.1f} answers/s, p50 {median(waits_s):5.2f} s, p99 {tail_s:5.2f} s"
                print(f"{name:16} {figures}, at most {max(waits_s):5.2f} s", flush=True)
    if other is None:
        print("not compared: MODELYARD_AGAINST must name the src folder of another checkout")
        return True
    return ratio("answers of this checkout / of the other", *rates.values(), at_least=AT_LEAST)


def start(stack: ExitStack, models: Path, source: str) -> Server:
    """A server that runs the code in `source`, warm."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    flags = ("--rate-limit", "0", "--memory-gb", MEMORY_GB)
    server = stack.enter_context(Server(folder, models, *flags, PYTHONPATH=source))
    for model_id in MODELS:
        server.run(model_id, text="hello")
    return server


async def ask_at_random(port: int, seed: int) -> list[float]:
    """The seconds that each answer took, of all clients."""
    dice = random.Random(seed)
    waits_s: list[float] = []
    until = time.monotonic() + ROUND_S

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (asked := time.monotonic()) < until:
            writer.write(encode(dice.choice(MODELS), {"text": "the cat sat on the mat"}))
            status, answer = await read_answer(reader)
            assert status == 200, answer
            waits_s.append(time.monotonic() - asked)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return waits_s


def ensure_models() -> Path:
    """The folder of the twelve, made when they are not there: one classifier of 27M parameters, twelve times."""
    tokenizer = ensure_model("bench/classifier", "bert_classifier") / "bench/classifier"
    root = cache_dir() / "crowd-models"
    for model_id in MODELS:
        if not (root / model_id / "config.json").exists():
            make(root / model_id, tokenizer)
    return root


def make(folder: Path, tokenizer: Path) -> None:
    """The classifier, with random weights."""
    from transformers import BertConfig, BertForSequenceClassification

    shape = {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "intermediate_size": 2048}
    BertForSequenceClassification(BertConfig(vocab_size=16_000, **shape)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        copyfile(tokenizer / name, folder / name)
