"""The models that benchmarks load: random weights in published shapes, built once into a cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Where built models stay between runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "modelyard-benchmarks"


def ensure_model(model_id: str, family: str) -> Path:
    """The models folder that holds `model_id`, built by the test builder `family` when it is not there yet."""
    from tests.builders.registry import make

    folder = cache_dir() / model_id
    if not (folder / "config.json").exists():
        make(family, folder)
    return cache_dir()
