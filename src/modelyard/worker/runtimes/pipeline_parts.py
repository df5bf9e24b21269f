"""Pipelines that are a base with a part which is published by itself: loading both, and putting the one into the
other. What comes out is a pipeline like any other.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch

from modelyard.errors import ModelRefused
from modelyard.records.pipeline_parts import CONFIG_FILE, argument_of, find_pipeline
from modelyard.records.precision import find_precision
from modelyard.tasks.base import Head
from modelyard.worker.runtimes.device import choose_device
from modelyard.worker.runtimes.diffusers import DiffusersPipeline, find_dtype, find_loader, load_whole
from modelyard.worker.runtimes.failures import first_line, loading_errors
from modelyard.worker.runtimes.library_logs import quiet_library


def load_adapted_model(
    path: Path, base: Path, heads: tuple[Head, ...], *, device: str = "auto", remote_code: bool = False
) -> DiffusersPipeline:
    """The pipeline in the folder `base` with the part in the folder `path`, on `device`, in the base's type.

    Raises: ModelRefused when there is no pipeline of both or either cannot be served; BootFailed.
    """
    from diffusers.utils import logging as library_logging

    where = choose_device(device)
    dtype = find_dtype(base) if where.type == "cuda" else torch.float32
    with loading_errors(path, str(where)), quiet_library(), quiet_library(library_logging):
        load = partial(put_into_base, path, base, dtype, remote_code=remote_code)
        return DiffusersPipeline(path, load_whole(load, path, where), heads[0])


def put_into_base(path: Path, base: Path, dtype: torch.dtype, *, remote_code: bool) -> Any:
    """The library's pipeline of both, on the CPU. Raises ModelRefused, and what the library raises."""
    import diffusers

    kind = read_class(path)
    whole = find_loader(base, dtype, remote_code=remote_code)()
    made = getattr(diffusers, find_pipeline(kind, type(whole).__name__) or "", None)
    if made is None:
        raise ModelRefused(
            f"{path.name} is a {kind}, and the installed diffusers has no pipeline of one and a "
            f"{type(whole).__name__}, which {base.name} is."
        )
    part = getattr(diffusers, kind).from_pretrained(
        path,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        variant=find_precision((file.name for file in path.iterdir()), "diffusion_pytorch_model"),
    )
    return made.from_pipe(whole, dtype=dtype, **{argument_of(kind): part})


def read_class(path: Path) -> str:
    """The class of the part in a folder. Raises ModelRefused."""
    try:
        return str(json.loads((path / CONFIG_FILE).read_bytes())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelRefused(f"{path.name} cannot be loaded: {CONFIG_FILE}: {first_line(error)}") from error
