"""A row's model called in a loop, without any server: `python -m benchmarks.peers.in_process FOLDER TEXT WORKERS`.

Prints the figures for one client (one call at a time, with a pause before each) and for 64 (batches, in as many
processes as there are workers).
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles

PAUSE_S = 0.002
"""A model that is called again and again at once has everything in its caches; one with a server around it has not."""
CALLS = 300
BATCH = 32
BATCHES_S = 3.0


def open_call(folder: str, text: str):  # type: ignore[no-untyped-def]
    """A function that answers so many requests at once as our task does."""
    import torch

    from modelyard.tasks.body import to_call
    from modelyard.tasks.registry import get_task
    from modelyard.worker.runtimes.base import load_model

    torch.set_num_threads(1)
    task = get_task("text-classification")
    model = load_model("transformers", Path(folder), task.heads)
    call = to_call(task, {"text": text}, {})
    return lambda count: task.run(model, [call] * count)


def time_alone(folder: str, text: str) -> list[float]:
    """Milliseconds of single calls."""
    answer = open_call(folder, text)
    took = []
    for _ in range(CALLS):
        time.sleep(PAUSE_S)
        begun = time.perf_counter()
        answer(1)
        took.append(1000 * (time.perf_counter() - begun))
    return took[CALLS // 10 :]


def count_in_batches(folder: str, text: str) -> float:
    """Requests per second in batches."""
    answer = open_call(folder, text)
    answer(BATCH)
    begun, batches = time.perf_counter(), 0
    while (took := time.perf_counter() - begun) < BATCHES_S:
        answer(BATCH)
        batches += 1
    return BATCH * batches / took


def main() -> None:
    """Prints `[[rate, p50, p99], [rate, p50, p99]]`, the latter's times being those of a whole batch."""
    folder, text, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    alone = time_alone(folder, text)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        rate = sum(pool.map(count_in_batches, [folder] * workers, [text] * workers))
    batch_ms = 1000 * BATCH * workers / rate
    print(json.dumps([[1000 / median(alone), median(alone), quantiles(alone, n=100)[98]], [rate, batch_ms, batch_ms]]))


if __name__ == "__main__":
    main()
