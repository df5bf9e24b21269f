"""Weights of 16 bits where the operator wants them: half the memory, and answers near those of 32."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelyard.errors import ModelRefused
from modelyard.records.precision import BF16
from modelyard.worker.runtimes.base import load_model
from tests.builders.real import smollm2

Folder = Callable[[str], Path]
WITHIN = 0.05
"""The root mean square of the error, in the outputs' own standard deviations. bf16 keeps 8 bits of a number: measured
0.004-0.026."""
WORSE = 0.005
"""Of the perplexity on real texts."""
STEPS_BETWEEN = 12
"""Tokens that rows get before the next one joins them."""
IDS = np.arange(5, 25).reshape(1, -1)


def weight_bytes(model: Any) -> int:
    return sum(weights.numel() * weights.element_size() for weights in model.module.parameters())


@pytest.mark.parametrize(
    ("family", "head", "output"),
    [
        ("llama_chat", "causal-lm", "logits"),
        ("bert_classifier", "sequence-classification", "logits"),
        ("bert_encoder", "base", "last_hidden_state"),
    ],
)
def test_answers_in_bf16_are_near_those_of_32_bits_at_half_the_memory(
    model_folder: Folder, load: Any, family: str, head: str, output: str
) -> None:
    inputs = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}
    usual = load(family, head)
    half: Any = load_model("transformers", model_folder(family), (head,), device="cpu", precision=BF16)  # type: ignore[arg-type]

    expected, found = usual.forward(inputs)[output], half.forward(inputs)[output]

    assert {weights.dtype for weights in half.module.parameters()} == {torch.bfloat16}
    assert weight_bytes(half) * 2 == weight_bytes(usual)
    assert found.dtype == np.float32
    assert 0 < np.sqrt(np.square(found - expected).mean()) / expected.std() <= WITHIN


def test_a_text_written_in_bf16_is_the_librarys(model_folder: Folder) -> None:
    from transformers import AutoModelForCausalLM

    folder = model_folder("llama_chat")
    half: Any = load_model("transformers", folder, ("causal-lm",), device="cpu", precision=BF16)
    inputs = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}

    answer = half.generate(inputs, {"max_new_tokens": 8, "do_sample": False}, lambda *_: False)

    direct = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    prompt = torch.from_numpy(IDS)
    written = direct.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False, pad_token_id=0
    )
    assert list(answer[0][0].tokens) == [token for token in written[0, IDS.shape[1] :].tolist() if token != 2]


def test_images_are_taken_in_the_weights_own_type(model_folder: Folder, load: Any) -> None:
    usual = load("vit_classifier", "image-classification")
    half: Any = load_model(
        "transformers", model_folder("vit_classifier"), ("image-classification",), device="cpu", precision=BF16
    )
    size = usual.config["image_size"]
    inputs = {"pixel_values": np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)}

    expected, found = usual.forward(inputs)["logits"], half.forward(inputs)["logits"]

    assert np.sqrt(np.square(found - expected).mean()) / expected.std() <= WITHIN


def test_what_is_missing_is_said_as_ever(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused):
        load_model("transformers", tmp_path, ("causal-lm",), device="cpu", precision=BF16)


@pytest.mark.verify(part="models")
def test_a_real_model_in_bf16_reads_texts_hardly_worse_in_rows_that_come_and_go() -> None:
    usual, half = (
        load_model("transformers", smollm2(), ("causal-lm",), device="cpu", precision=precision)
        for precision in (None, BF16)
    )
    from modelyard.worker.runtimes.quality.judgement import encode_passages

    texts = encode_passages(usual)  # type: ignore[arg-type]
    expected, found = perplexity(usual, texts), perplexity(half, texts)

    assert found != expected
    assert abs(found / expected - 1) <= WORSE


def perplexity(model: Any, texts: Sequence[Any]) -> float:
    """Of the second half of each text, whose tokens are put in the place of those that its row chooses. A row joins
    the others after every few steps, and leaves at its text's end."""
    rows = model.find_token_model()
    logits: deque[torch.Tensor] = deque()

    def keep_logits(_: Any, __: Any, output: Any) -> None:
        logits.clear()
        logits.extend(output.logits[:, -1].float())

    model.module.register_forward_hook(keep_logits)
    plan = rows.find_plan({"max_new_tokens": max(map(len, texts)), "do_sample": False})
    left: dict[Any, deque[int]] = {}
    losses: list[float] = []
    at_once: list[int] = []

    def note(answers: Iterable[Any]) -> None:
        for answer in answers:
            token = left[answer.row].popleft()
            losses.append(-float(torch.log_softmax(logits.popleft(), dim=-1)[token]))
            answer.row.ids[-1] = token
            if not left[answer.row]:
                rows.release([answer.row])
                del left[answer.row]

    def step() -> None:
        at_once.append(len(left))
        note(rows.step())

    for text in texts:
        begun = len(text) // 2
        (row,) = opened = rows.open_rows([int(token) for token in text[:begun]], plan)
        left[row] = deque(int(token) for token in text[begun:])
        while row.unread:
            note(rows.read([opened], 24))
            step()
        for _ in range(STEPS_BETWEEN):
            step()
    while left:
        step()
    assert len(losses) == sum(len(text) - len(text) // 2 for text in texts)
    assert max(at_once) >= 4
    return math.exp(math.fsum(losses) / len(losses))
