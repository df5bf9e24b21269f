"""A row's model called in a loop, without any server: `python -m benchmarks.peers.in_process ROW`.

Prints `[[case, figures], ...]` in one line. One client is one call at a time, with a pause before each; many are
batches in as many processes as the row has workers, or, where no two texts are of one length, one call after another.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from statistics import median, quantiles

from benchmarks.peers.load import Figures
from benchmarks.peers.peers import BATCH
from benchmarks.peers.rows import MANY, ONE, ONE_STREAM, ROWS, SIXTEEN, Row
from benchmarks.peers.targets import Case

PAUSE_S = 0.002
"""A model that is called again and again at once has everything in its caches; one with a server around it has not."""
CALLS = 300
BATCHES_S = 3.0
WRITES = 4

Answer = Callable[[Sequence[str]], object]


def row_of(name: str) -> Row:
    """The row of that name."""
    return next(row for row in ROWS if row.name == name)


def open_call(row: Row) -> Answer:
    """A function that answers texts at once as our task does."""
    import torch

    from modelyard.tasks.body import to_call
    from modelyard.tasks.registry import get_task
    from modelyard.worker.runtimes.base import load_model

    torch.set_num_threads(row.threads)
    task = get_task(row.task)
    model = load_model("transformers", row.folder, task.heads)
    calls = {text: to_call(task, {"text": text}, {}) for text in row.texts}
    return lambda texts: task.run(model, [calls[text] for text in texts])


def time_alone(row: Row) -> Figures:
    """Of single calls."""
    answer = open_call(row)
    took = []
    for text in islice(cycle(row.texts), CALLS):
        time.sleep(PAUSE_S)
        begun = time.perf_counter()
        answer([text])
        took.append(1000 * (time.perf_counter() - begun))
    took = took[CALLS // 10 :]
    return Figures(1000 / median(took), median(took), quantiles(took, n=100)[98])


def count_in_batches(name: str) -> float:
    """Requests per second in one process."""
    row = row_of(name)
    answer = open_call(row)
    size = BATCH if len(row.texts) == 1 else 1
    batches = cycle([row.texts * BATCH] if size > 1 else [[text] for text in row.texts])
    answer(next(batches))
    begun, count = time.perf_counter(), 0
    while (took := time.perf_counter() - begun) < BATCHES_S * row.seconds:
        answer(next(batches))
        count += size
    return count / took


def classifies(row: Row) -> Iterator[tuple[Case, Figures]]:
    """One client and many."""
    if ONE in row.cases:
        yield ONE, time_alone(row)
    with ProcessPoolExecutor(row.workers, mp_context=get_context("spawn")) as pool:
        rate = sum(pool.map(count_in_batches, [row.name] * row.workers))
    many_ms = 1000 * MANY.clients / rate
    yield MANY, Figures(rate, many_ms, many_ms)


def writes(row: Row) -> Iterator[tuple[Case, Figures]]:
    """The library's own loop: one text, sixteen in one batch, and how long the first token of one takes."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(row.threads)
    tokenizer = AutoTokenizer.from_pretrained(row.folder)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    model = AutoModelForCausalLM.from_pretrained(row.folder).eval()

    def write(texts: Sequence[str], new_tokens: int) -> float:
        inputs = tokenizer(list(texts), padding=True, return_tensors="pt")
        begun = time.perf_counter()
        model.generate(**inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, pad_token_id=0)
        return time.perf_counter() - begun

    def figures(rows: int, new_tokens: int) -> Figures:
        write(row.texts[:rows], 2)
        took_s = median(write(row.texts[place * rows : (place + 1) * rows], new_tokens) for place in range(WRITES))
        return Figures(rows * new_tokens / took_s, 1000 * took_s, 1000 * took_s, 1000 * took_s if rows == 1 else None)

    first = figures(1, 1)
    whole = figures(1, row.tokens)
    yield ONE, whole
    yield ONE_STREAM, Figures(whole.rate, whole.p50_ms, whole.p99_ms, first.p50_ms)
    yield SIXTEEN, figures(SIXTEEN.clients, row.tokens)


def main() -> None:
    """Prints the figures of the row that its argument names."""
    row = row_of(sys.argv[1])
    found = (writes if row.tokens else classifies)(row)
    print(
        json.dumps(
            [
                [[case.clients, case.streams], [each.rate, each.p50_ms, each.p99_ms, each.first_ms]]
                for case, each in found
            ]
        )
    )


if __name__ == "__main__":
    main()
