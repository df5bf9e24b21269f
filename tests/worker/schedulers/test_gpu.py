"""Texts on a GPU, where a worker alone writes them: as quick as the library's own batches, within their memory."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import transformers as library

from modelyard.protocol import Outcome
from modelyard.records.precision import BF16
from modelyard.tasks.base import Call
from modelyard.tasks.registry import get_task
from modelyard.tasks.text_generation import TextGenerationInputs, TextGenerationParams
from modelyard.units import MIB
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.token_rows import TokenRows
from modelyard.worker.schedulers.tokens import Tokens
from tests.builders import tokenizers
from tests.builders.families import save

pytestmark = pytest.mark.gpu

MODEL_ID = "random/llama-1b"
CLIENTS = (1, 16, 64)
PROMPT_TOKENS, NEW_TOKENS, ROUNDS = 64, 128, 3
AT_LEAST = 0.9
"""Of the library's tokens a second, each side at its best of so many rounds."""
DEADLINE_S = 600.0
CACHE_BYTES, PASS_BYTES = 64 * MIB, 512 * MIB
TASK = get_task("text-generation")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a Llama of 1.1B random parameters in 16 bits."""
    end = "<|endoftext|>"
    tokenizer = tokenizers.byte_level_of_size(32_000, [end], eos_token=end, bos_token=end)
    config = library.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=0,
    )
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = library.LlamaForCausalLM(config)
    save(root / MODEL_ID, tokenizer, model.to("cpu", torch.bfloat16))
    return root


@pytest.fixture(scope="module")
def library_rates(models: Path) -> dict[int, float]:
    """The library's tokens a second, by the rows of its batch."""
    torch.cuda.empty_cache()
    model: Any = library.AutoModelForCausalLM.from_pretrained(models / MODEL_ID, dtype=torch.bfloat16).to("cuda")

    def write(rows: int) -> None:
        ids = torch.randint(100, 8000, (rows, PROMPT_TOKENS), device="cuda")
        settings = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
        model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        torch.cuda.synchronize()

    return {rows: best_rate(rows, partial(write, rows)) for rows in CLIENTS}


@pytest.fixture(scope="module")
def worker(models: Path, library_rates: dict[int, float]) -> Iterator[str]:
    """The address of `modelyard worker`, ready, once the library has been measured."""
    words = ["--models-dir", str(models), "--bf16", MODEL_ID, "--device", "cuda", "--port", "0", "--max-batch", "64"]
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard", "worker", MODEL_ID, *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split("Listening on ")[1].split(";")[0]
        assert process.stdout.readline().startswith("Ready"), process.poll()
        yield url
    finally:
        process.kill()
        process.communicate()


def best_rate(clients: int, write: Callable[[], None]) -> float:
    """Tokens a second of `write`, which writes NEW_TOKENS to each client."""
    write()
    took_s = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        write()
        took_s.append(time.perf_counter() - began)
    return clients * NEW_TOKENS / min(took_s)


def words(number: int) -> str:
    """A prompt of about PROMPT_TOKENS, unlike all others."""
    return f"{number} {'and ' * (PROMPT_TOKENS // 2)}"


@pytest.mark.parametrize("clients", CLIENTS)
def test_a_worker_writes_as_many_tokens_a_second_as_the_librarys_batches(
    worker: str, library_rates: dict[int, float], clients: int
) -> None:
    params = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    with httpx.Client(timeout=DEADLINE_S) as client, ThreadPoolExecutor(clients) as threads:

        def ask(number: int) -> None:
            answer = client.post(f"{worker}/run", json={"text": words(number), "params": params})
            assert answer.status_code == 200, answer.text

        def ask_all() -> None:
            list(threads.map(ask, range(clients)))

        rate = best_rate(clients, ask_all)
    print(f"{clients} clients: {rate:.0f} tokens/s, {rate / library_rates[clients]:.2f} of the library's")
    assert rate >= AT_LEAST * library_rates[clients]


def write_all(tokens: Tokens, calls: Sequence[tuple[str, TextGenerationParams]]) -> list[Any]:
    """The scheduler's answers, in order."""
    answers: dict[int, Any] = {}
    over = threading.Event()

    def deliver(number: int, answer: Any) -> None:
        answers[number] = answer
        if len(answers) == len(calls):
            over.set()
            tokens.close()

    for number, (text, params) in enumerate(calls):
        tokens.submit(Call(TextGenerationInputs(text=text), params), partial(deliver, number))
    tokens.run()
    assert over.is_set()
    return [answers[number] for number in range(len(calls))]


@pytest.fixture(scope="module")
def model(models: Path) -> Any:
    return load_model("transformers", models / MODEL_ID, TASK.heads, device="cuda", precision=BF16)


def scheduler_of(model: Any, cache_bytes: int) -> Tokens:
    assert TASK.generation is not None
    rows = TokenRows(model.module, model._defaults, 0, None, cache_bytes, keeps=False)
    return Tokens(TASK, TASK.generation, model, rows, max_batch=64)


def test_more_texts_than_there_is_memory_for_wait_and_none_fails(model: Any) -> None:
    params = TextGenerationParams(max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False)
    weights = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    answers = write_all(scheduler_of(model, CACHE_BYTES), [(words(number), params) for number in range(64)])
    assert all(isinstance(answer, Outcome) for answer in answers), answers
    # While rows are moved, both places are held.
    assert torch.cuda.max_memory_allocated() <= weights + 2 * CACHE_BYTES + PASS_BYTES


def test_a_seed_repeats_a_text(model: Any) -> None:
    seeded = TextGenerationParams(max_new_tokens=24, do_sample=True, top_k=50, top_p=0.9, seed=3)
    free = TextGenerationParams(max_new_tokens=24, do_sample=True, top_p=0.9)
    one, same, other = write_all(scheduler_of(model, 10**9), [(words(0), seeded), (words(0), seeded), (words(0), free)])
    assert isinstance(one, Outcome)
    assert isinstance(other, Outcome)
    assert one.output == same.output
