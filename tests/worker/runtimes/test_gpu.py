"""Models on a GPU answer as they do on the processor, and what they hold there is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.device import peak_device_bytes

pytestmark = pytest.mark.gpu

GREEDY = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False}


def test_a_generator_writes_the_same_text(model_folder: Callable[[str], Path], ask: Callable[..., Any]) -> None:
    task, body = get_task("text-generation"), {"text": "Once upon a time", "params": GREEDY}
    texts = [
        ask(task, load_model("transformers", model_folder("gpt2"), task.heads, device=device), body)
        for device in ("cpu", "cuda")
    ]
    assert texts[0] == texts[1]


def test_a_classifier_gives_the_same_scores(model_folder: Callable[[str], Path], ask: Callable[..., Any]) -> None:
    task, body = get_task("text-classification"), {"text": "a wonderful story"}
    on_cpu, on_gpu = (
        ask(task, load_model("transformers", model_folder("bert_classifier"), task.heads, device=device), body)
        for device in ("cpu", "cuda")
    )
    assert [each["label"] for each in on_gpu] == [each["label"] for each in on_cpu]
    assert [each["score"] for each in on_gpu] == pytest.approx([each["score"] for each in on_cpu], abs=1e-3)


def test_what_is_held_on_the_gpu_is_told(model_folder: Callable[[str], Path]) -> None:
    folder = model_folder("gpt2")
    model = load_model("transformers", folder, get_task("text-generation").heads, device="cuda")
    held = peak_device_bytes()
    assert model is not None
    assert held is not None
    assert held > (folder / "model.safetensors").stat().st_size
