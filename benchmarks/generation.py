"""Texts by the worker's scheduler of tokens, in process, against the library's own loop: one client and sixteen, first
tokens, and what running streams feel of a long prompt. Rounds interleaved, on as many threads as there are cores."""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.models import cache_dir
from benchmarks.report import BOUNDS, Bound, at_most, ratio, rounds, spread
from modelyard.worker.environment import QUIET_LIBRARIES

MODEL = "bench/llama-27m"
ROUNDS = rounds(3)
ROWS = 16
PROMPT_TOKENS = 30
NEW_TOKENS = 32
LONG_TOKENS = 4000
STREAMS = 4
STREAM_TOKENS = 400
CHAT_TOKENS = 1000
ARRIVALS = 48
SHARE_OF_PEAK = 0.7


def run() -> bool:
    """Prints the figures of a random model and of SmolLM2; whether the bounds were kept. Measured in a process of its
    own with what workers have: threads that wait for one another for ever, as torch's do by default, stand still for as
    long as another program has a core of theirs."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "bounds.json"
        command = [sys.executable, "-m", __name__, str(found)]
        subprocess.run(command, env={**os.environ, **QUIET_LIBRARIES}, check=True)
        bounds = [Bound(**{**bound, "benchmark": BOUNDS.benchmark}) for bound in json.loads(found.read_bytes())]
    BOUNDS.all += bounds
    return all(bound.kept for bound in bounds)


def measure_both(found: Path) -> None:
    """Runs as that process; writes what was held against a bound."""
    from tests.builders.real import SMOLLM2, made

    folder = cache_dir() / MODEL
    if not (folder / "config.json").exists():
        llama(folder)
    for each in (folder, made(SMOLLM2)):
        measure(each)
    found.write_text(json.dumps([asdict(bound) for bound in BOUNDS.all]))


def llama(folder: Path) -> None:
    """A Llama of 6 layers and 27M random parameters that reads 8192 tokens."""
    import transformers as library

    from tests.builders import tokenizers
    from tests.builders.families import save

    end = "<|endoftext|>"
    tokenizer = tokenizers.byte_level_of_size(8192, [end], eos_token=end, bos_token=end)
    config = library.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=6,
        num_attention_heads=8,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=0,
    )
    save(folder, tokenizer, library.LlamaForCausalLM(config))


def measure(folder: Path) -> None:
    """Prints the figures of one model."""
    from modelyard.worker.runtimes.threads import set_threads

    set_threads(os.cpu_count() or 1)
    print(f"\n{folder.name}")
    bench = Bench(folder)
    lone, batch, one, streamed, unstreamed, first_lone, first = ([] for _ in range(7))
    bench.load(1, streams=True)
    for _ in range(ROUNDS):
        lone.append(bench.library(1, NEW_TOKENS))
        one.append(bench.load(1, streams=True)[0])
        batch.append(bench.library(ROWS, NEW_TOKENS))
        rate, firsts = bench.load(ROWS, streams=True)
        streamed.append(rate)
        unstreamed.append(bench.load(ROWS, streams=False)[0])
        first.append(median(firsts))
        first_lone.append(1 / bench.library(1, 1))
    for name, values in (
        ("library, 1", lone),
        (f"library, {ROWS}", batch),
        ("1", one),
        (f"{ROWS}, streamed", streamed),
    ):
        print(f"{name:24}{spread(values, 'tokens/s')}")
    ratio("1 client against the library alone", one, lone, at_least=0.95)
    ratio("16 streamed against a static batch of 16", streamed, batch, at_least=0.88)
    ratio("16 unstreamed against a static batch of 16", unstreamed, batch, at_least=0.93)
    ratio("first token of 16 against the library's alone", first, first_lone, at_most=4.0)
    at_most(f"longest pause while {LONG_TOKENS} tokens arrive", bench.longest_pause(), 4.0, "median steps")
    peak = median(streamed) / NEW_TOKENS
    at_most("first token of a chat's next turn, of one alike", bench.next_turn(), 0.5, "of its time")
    at_most("p99 of the time per token, arrivals by chance", bench.arrivals(SHARE_OF_PEAK * peak), 2.0, "medians")
    bench.close()


class Bench:
    """One model, its scheduler on a thread, and clients."""

    def __init__(self, folder: Path) -> None:
        from modelyard.tasks.registry import get_task
        from modelyard.worker.runtimes.base import load_model
        from modelyard.worker.schedulers.tokens import Tokens

        task = get_task("text-generation")
        self.model: Any = load_model("transformers", folder, task.heads, device="cpu")
        rows = self.model.find_token_model()
        assert task.generation is not None
        assert rows is not None
        self._times: dict[Any, list[float]] = {}
        rows.step = partial(self._note_times, rows.step)
        self._scheduler = Tokens(task, task.generation, self.model, rows)
        self._thread = threading.Thread(target=self._scheduler.run)
        gc.collect()  # as in a worker, what is there by now is no garbage to come
        gc.freeze()
        self._thread.start()
        self._draw = random.Random(0)

    def close(self) -> None:
        """Ends the thread."""
        self._scheduler.close()
        self._thread.join()

    def _note_times(self, step: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """The tokens of a step; notes when each row had its own."""
        for answer in step():
            self._times.setdefault(answer.row, []).append(time.perf_counter())
            yield answer

    def library(self, rows: int, new_tokens: int) -> float:
        """Tokens a second of the library's loop, in one batch of prompts of equal length."""
        import torch

        highest = min(self.model.config["vocab_size"], 8000)
        ids = torch.tensor([[self._draw.randrange(100, highest) for _ in range(PROMPT_TOKENS)] for _ in range(rows)])
        settings = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False, "pad_token_id": 0}
        began = time.perf_counter()
        self.model.module.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        return rows * new_tokens / (time.perf_counter() - began)

    def load(self, clients: int, *, streams: bool, requests: int = 2) -> tuple[float, Sequence[float]]:
        """Tokens a second of clients that each ask so many times, and the seconds to each first token."""
        firsts: list[float] = []

        def ask() -> None:
            for _ in range(requests):
                began = time.perf_counter()
                pieces = self.write(PROMPT_TOKENS, NEW_TOKENS, streams=streams)
                firsts.extend(each - began for each in pieces[1:2])

        began = time.perf_counter()
        run_together([ask] * clients)
        return clients * requests * NEW_TOKENS / (time.perf_counter() - began), firsts

    def longest_pause(self) -> float:
        """The longest time between two tokens of running texts while a long prompt is read, in medians of before. Of
        tokens, not of pieces: a model of random weights writes some dozens that are no whole letter yet."""
        began, text, came = threading.Event(), self._text(LONG_TOKENS), list[float]()
        self._times.clear()

        def stream() -> None:
            self.write(PROMPT_TOKENS, STREAM_TOKENS, after=(20, began.set))

        def arrive() -> None:
            began.wait()
            came.append(time.perf_counter())
            self.write(0, 2, text=text)
            came.append(time.perf_counter())

        run_together([*([stream] * STREAMS), arrive])
        arrived, over = came
        gaps = [(a, b - a) for each in self._times.values() for a, b in itertools.pairwise(each)]
        steps = median(gap for at, gap in gaps if at < arrived)
        return max(gap for at, gap in gaps if arrived <= at <= over) / steps

    def next_turn(self) -> float:
        """The time to the first token of a text that goes on from one that has just been written, as a share of that of
        another one as long."""
        shares = []
        for _ in range(ROUNDS):
            first, other = self._text(CHAT_TOKENS), self._text(CHAT_TOKENS + PROMPT_TOKENS)
            self.write(0, NEW_TOKENS, text=first)
            times = []
            for text in (f"{first} {self._text(PROMPT_TOKENS)}", other):
                began = time.perf_counter()
                times.append(self.write(0, 2, text=text)[1] - began)
            shares.append(times[0] / times[1])
        return median(shares)

    def arrivals(self, per_s: float) -> float:
        """Streams that come by chance, so many a second on average: the p99 of their times per token, in medians."""
        per_token: list[float] = []

        def ask(after_s: float) -> None:
            time.sleep(after_s)
            pieces = self.write(PROMPT_TOKENS, NEW_TOKENS)
            per_token.append((pieces[-1] - pieces[1]) / (len(pieces) - 2))

        moments = itertools.accumulate(self._draw.expovariate(per_s) for _ in range(ARRIVALS))
        run_together([partial(ask, moment) for moment in moments])
        return sorted(per_token)[int(0.99 * len(per_token))] / median(per_token)

    def write(
        self,
        prompt_tokens: int,
        new_tokens: int,
        *,
        streams: bool = True,
        text: str | None = None,
        after: tuple[int, Callable[[], None]] | None = None,
    ) -> list[float]:
        """One request; when each piece of it came. `text`: in place of one of so many tokens. `after`: called with the
        piece of that number."""
        from modelyard.tasks.base import Call
        from modelyard.tasks.text_generation import TextGenerationInputs, TextGenerationParams

        seen: list[float] = []
        done = threading.Event()

        def emit(_: str) -> None:
            seen.append(time.perf_counter())
            if after is not None and len(seen) == after[0]:
                after[1]()

        params = TextGenerationParams(max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False)
        call = Call(TextGenerationInputs(text=text or self._text(prompt_tokens)), params, emit if streams else None)
        self._scheduler.submit(call, lambda _: done.set())
        done.wait()
        return seen

    def _text(self, tokens: int) -> str:
        """A text of about so many tokens."""
        ids = [self._draw.randrange(100, min(self.model.config["vocab_size"], 8000)) for _ in range(tokens)]
        text: str = self.model.tokenizer.decode(ids)
        return self.model.tokenizer.decode(self.model.tokenizer(text)["input_ids"][:tokens])


def run_together(functions: Sequence[Callable[[], None]]) -> None:
    """Runs them on threads; returns when all have ended."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    measure_both(Path(sys.argv[1]))
