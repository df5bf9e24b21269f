"""The library's own models, to compare answers with: loaded without any of our code."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers


@cache
def library_model(auto: str, folder: Path) -> Any:
    """The model in `folder` under the library's auto class `auto`, loaded once."""
    transformers.utils.logging.disable_progress_bar()
    return getattr(transformers, auto).from_pretrained(folder).eval()


@cache
def library_pipeline(folder: Path) -> Any:
    """The diffusers pipeline in `folder`, loaded once."""
    import diffusers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def call_pipeline(folder: Path, *, seed: int, **arguments: Any) -> Any:
    """What the pipeline in `folder` makes with noise from `seed`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generator = torch.Generator().manual_seed(seed)
        return library_pipeline(folder)(generator=generator, **arguments)
