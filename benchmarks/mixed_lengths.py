"""Texts of 5 to 500 tokens that arrive mixed: what the worker's batches make of them, against one by one and against
batches of whatever came first, all in process on one thread, in CPU seconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from benchmarks.models import cache_dir
from benchmarks.report import ratio, rounds, spread

MODEL = "bench/classifier-4x256"
SIZES = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024,
         "max_position_embeddings": 512}  # fmt: skip
CLIENTS = 64
REQUESTS = 256
FIRST_COME = 32
ROUNDS = rounds(5)


def run() -> bool:
    """Prints all three."""
    import torch

    from modelyard.tasks.registry import get_task
    from modelyard.worker.runtimes.base import load_model
    from tests.builders.sized import text_classifier

    folder = cache_dir() / MODEL
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        text_classifier(folder, **SIZES)
    torch.set_num_threads(1)
    task = get_task("text-classification")
    model = load_model("transformers", folder, task.heads)
    for _ in range(2):  # warms up, and the batcher learns
        answer_batched(task, model, make_texts(0))
    alone, first_come, batched = [], [], []
    for seed in range(1, ROUNDS + 1):
        texts = make_texts(seed)
        alone.append(rate(lambda texts=texts: answer_in_groups(task, model, texts, 1)))
        first_come.append(rate(lambda texts=texts: answer_in_groups(task, model, texts, FIRST_COME)))
        batched.append(rate(lambda texts=texts: answer_batched(task, model, texts)))
    for name, rates in (("one by one", alone), (f"{FIRST_COME} as they come", first_come), ("batched", batched)):
        print(f"{name:40} {spread(rates, 'requests/CPU s')}")
    ratio("batched / as they come", batched, first_come, at_least=1.2)
    return ratio("batched / one by one", batched, alone, at_least=1.0)


def make_texts(seed: int) -> list[str]:
    """Texts of 5 to 500 words, a token each."""
    rng = random.Random(seed)
    return [" ".join(["cat"] * rng.randint(5, 500)) for _ in range(REQUESTS)]


def rate(work: Callable[[], object]) -> float:
    """Requests per CPU second."""
    began = time.process_time()
    work()
    return REQUESTS / (time.process_time() - began)


def answer_in_groups(task, model, texts: list[str], size: int) -> None:
    """Runs the texts in the order in which they came, `size` at once."""
    from modelyard.tasks.body import to_call

    calls = [to_call(task, {"text": text}, {}) for text in texts]
    for start in range(0, len(calls), size):
        task.run(model, calls[start : start + size])


def answer_batched(task, model, texts: list[str]) -> None:
    """Has a batcher answer them, each client's next when its last was answered."""
    from modelyard.tasks.body import to_call
    from modelyard.worker.schedulers.batches import Batcher

    batcher = Batcher(task, model)
    left = [to_call(task, {"text": text}, {}) for text in texts]
    answered = 0

    def take(_answer: object) -> None:
        nonlocal answered
        answered += 1
        if left:
            batcher.submit(left.pop(), take)
        elif answered == len(texts):
            batcher.close()

    for _ in range(CLIENTS):
        batcher.submit(left.pop(), take)
    batcher.run()
