"""Models made for one test, loaded as a worker loads them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.worker.runtimes import preloaded as program

Make = Callable[[], tuple[Any, Any]]
"""Makes a tokenizer and a model of the library's."""


@pytest.fixture
def made(tmp_path: Path) -> Callable[[Make, str], Any]:
    """(what makes it, task) → the model as a worker loads it."""

    def load(make: Make, task: str) -> Any:
        import torch

        from modelyard.tasks.registry import get_task
        from modelyard.worker.runtimes.base import load_model
        from tests.builders.families import save, spread

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            tokenizer, model = make()
            save(tmp_path, tokenizer, spread(model))
        return load_model("transformers", tmp_path, get_task(task).heads, device="cpu")

    return load


@dataclass(frozen=True)
class Preloaded:
    """What came of the program in `preloaded.py`. `said`: what it printed while it loaded and asked models; `adapter`,
    `base`: what it merged."""

    found: dict[str, Any]
    said: str
    adapter: Path
    base: Path


@pytest.fixture(scope="session")
def preloaded(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Preloaded:
    """What a process found that has imported what forks inherit, and then loaded, asked, merged, compiled and exported
    models."""
    from tests.builders.adapters import make_adapter, peft_config

    folder, base = tmp_path_factory.mktemp("preloaded"), model_folder("llama_chat")
    config = peft_config("LoraConfig", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapter = make_adapter(base, folder / "adapter", config)
    asked = {"bert_classifier": program.CLASSIFIER, "gpt2": "causal-lm", "bart": "seq2seq-lm", "bert_masked_lm": "base"}
    models = [word for family, head in asked.items() for word in (str(model_folder(family)), head)]
    facts, later = folder / "facts.json", folder / "later"
    command = [sys.executable, "-W", "default", program.__file__, facts, later, adapter, base, *models]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said + (later.read_text() if later.exists() else "")
    return Preloaded(json.loads(facts.read_text()), said, adapter, base)
