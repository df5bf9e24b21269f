"""GGUF models for tests that hold texts to forms. A process keeps them to its end: llama.cpp finds the tokenizer that
it has made for forms by the address of a vocabulary, and would take it for that of another model put there later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelyard.worker.runtimes.gguf import load_model

_kept: list[Any] = []


def load_kept(file: Path, **settings: Any) -> Any:
    """A model that writes."""
    model = load_model(file, ("causal-lm",), **settings)
    _kept.append(model)
    return model
