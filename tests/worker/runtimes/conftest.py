"""Models made for one test, loaded as a worker loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
