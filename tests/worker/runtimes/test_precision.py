"""Weights of 16 bits where the operator wants them: half the memory, and answers near those of 32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelyard.errors import ModelRefused
from modelyard.records.precision import BF16
from modelyard.worker.runtimes.base import load_model

Folder = Callable[[str], Path]
WITHIN = 0.05
"""The root mean square of the error, in the outputs' own standard deviations. bf16 keeps 8 bits of a number: measured
0.004-0.026."""
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
