"""What the serving path costs beside the model: requests per second and latency of a very small classifier, over HTTP
against the same model called in process, one by one and in batches.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.models import ensure_model
from benchmarks.report import ratio, rounds, spread

MODEL = "bench/classifier"
TEXT = "the cat sat on the mat and looked at the dog"
ROUNDS = rounds(5)
REQUESTS = 1500


def run() -> bool:
    """Prints both sides."""
    import torch

    from modelyard.tasks.body import to_call
    from modelyard.tasks.registry import get_task
    from modelyard.worker.runtimes.base import load_model
    from tests.e2e.loadgen import post_each
    from tests.serving import Server

    torch.set_num_threads(1)
    models = ensure_model(MODEL, "bert_classifier")
    task = get_task("text-classification")
    model = load_model("transformers", models / MODEL, task.heads)
    call = to_call(task, {"text": TEXT}, {})
    alone, batched, one_client, many_clients = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), models, "--rate-limit", "0") as server:
        server.run(MODEL, text=TEXT)
        for _ in range(ROUNDS):
            alone.append(rate(lambda: [task.run(model, [call]) for _ in range(REQUESTS // 4)], REQUESTS // 4))
            batched.append(
                rate(lambda: [task.run(model, [call] * 32) for _ in range(REQUESTS // 32)], REQUESTS // 32 * 32)
            )
            for connections, rates in ((1, one_client), (64, many_clients)):
                count = REQUESTS // 4 if connections == 1 else REQUESTS
                bodies = [{"text": TEXT}] * count
                rates.append(rate(lambda n=connections, b=bodies: post_each(server.port, MODEL, b, n), count))
    for name, rates in (
        ("in process, one by one", alone), ("in process, batches of 32", batched),
        ("over HTTP, 1 client", one_client), ("over HTTP, 64 clients, 1 replica", many_clients),
    ):  # fmt: skip
        print(f"{name:40} {spread(rates, 'requests/s')}")
    ratio("over HTTP, 1 client / in process, one by one", one_client, alone)
    return ratio("over HTTP, 64 clients / in process, batches of 32", many_clients, batched)


def rate(work: Callable[[], object], count: int) -> float:
    """Units of work per second."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)
