"""Models on a GPU answer as they do on the processor, and what they hold there is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import torch

from modelyard.tasks.registry import get_task
from modelyard.units import GIB
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.device import Spread, is_spread, peak_device_bytes

pytestmark = pytest.mark.gpu

NEIGHBOUR = """
import torch
held = torch.empty(2 * 2**30, dtype=torch.uint8, device="cuda")
print("held", flush=True)
input()
del held
torch.cuda.empty_cache()
print("freed", flush=True)
"""
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


def test_a_generator_on_all_devices_there_are_writes_the_same_text(
    model_folder: Callable[[str], Path], ask: Callable[..., Any]
) -> None:
    task, body = get_task("text-generation"), {"text": "Once upon a time", "params": GREEDY}
    folder = model_folder("gpt2")
    expected = ask(task, load_model("transformers", folder, task.heads, device="cpu"), body)
    for count in range(2, torch.cuda.device_count() + 1):
        spread = Spread(count, DEVICE_CONTEXT_BYTES + (folder / "model.safetensors").stat().st_size)
        model: Any = load_model("transformers", folder, task.heads, device="cuda", spread=spread)
        assert is_spread(model.module)
        assert ask(task, model, body) == expected
    assert torch.cuda.device_count() > 0


def test_what_a_neighbour_holds_or_gives_back_changes_no_figure(model_folder: Callable[[str], Path]) -> None:
    model = load_model("transformers", model_folder("gpt2"), get_task("text-generation").heads, device="cuda")
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR], stdin=PIPE, stdout=PIPE, text=True) as neighbour:
        assert neighbour.stdin is not None
        assert neighbour.stdout is not None
        assert neighbour.stdout.readline() == "held\n"
        before, free = peak_device_bytes(), torch.cuda.mem_get_info()[0]
        neighbour.stdin.write("\n")
        neighbour.stdin.flush()
        assert neighbour.stdout.readline() == "freed\n"
        assert torch.cuda.mem_get_info()[0] >= free + GIB
        assert peak_device_bytes() == before
    assert model is not None


def test_what_is_held_on_the_gpu_is_told(model_folder: Callable[[str], Path]) -> None:
    folder = model_folder("gpt2")
    model = load_model("transformers", folder, get_task("text-generation").heads, device="cuda")
    held = peak_device_bytes()
    assert model is not None
    assert held is not None
    assert held > (folder / "model.safetensors").stat().st_size
