"""Conversions: pickled weights made into safetensors. Owns the order to make one, and where they are kept."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

CONVERTED_FOLDER = "converted"
"""In the data folder: where converted models lie, as `org/name/<digest of the original's files>/`."""
PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_LIBRARY_STEMS = ("pytorch_model", "diffusion_pytorch_model", "adapter_model")


class ConversionOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which folder to convert.

    `path`: the original's folder. `weights`: the files in it that hold its weights, pickled or not. `target`: the new
    folder, which holds all that serving needs. `memory_limit_bytes`: what may be allocated beyond the program and its
    libraries. `cpu_s`: how long it may compute. `sandbox`, `scratch`: as ExportOrder has them.
    """

    path: str
    weights: tuple[str, ...]
    target: str
    model_id: str
    memory_limit_bytes: int
    cpu_s: int
    sandbox: str = "off"
    scratch: str | None = None


def is_pickle(name: str) -> bool:
    """Whether a file is called as pickles are."""
    return name.endswith(PICKLE_ENDINGS)


def converted_name(name: str) -> str:
    """What a pickled file of weights is called in safetensors: as the libraries look for it."""
    path = PurePosixPath(name)
    stem, dot, rest = path.name.partition(".")
    *more, _ = (dot + rest).split(".")[1:] or [""]
    if not stem.startswith(_LIBRARY_STEMS):
        stem, more = "model", []
    elif stem.startswith("pytorch_model"):
        stem = stem.removeprefix("pytorch_")
    return str(path.with_name(".".join([stem, *more, "safetensors"])))
