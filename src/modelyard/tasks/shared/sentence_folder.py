"""What a sentence-transformers folder says beyond the model: pooling, dense layers, length, prompts.

Source: the files that library writes beside a model: modules.json, config_sentence_transformers.json, and one folder
per module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from modelyard.errors import ModelRefused
from modelyard.tasks.model import Array


def gelu(vector: Array) -> Array:
    """x times the share of a normal distribution below x."""
    return np.array([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in vector.tolist()], dtype=vector.dtype)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "Tanh": np.tanh,
    "Identity": lambda vector: vector,
    "ReLU": lambda vector: np.maximum(vector, 0),
    "GELU": gelu,
}


KINDS = ("Transformer", "CLIPModel", "Pooling", "Dense", "Normalize")
"""The modules that are known here."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A layer after pooling. `weight`: (out, in); `bias`: (out,)."""

    weight: Array
    bias: Array | None
    activation: str

    def apply(self, vector: Array) -> Array:
        """The layer's output, (out,), for a vector of (in,)."""
        output = self.weight @ vector if self.bias is None else self.weight @ vector + self.bias
        return ACTIVATIONS[self.activation](output)


@dataclass(frozen=True, slots=True)
class Head:
    """What happens to a text before the model and to its states after. The defaults are for a plain model."""

    poolings: tuple[str, ...] = ("mean",)
    layers: tuple[Dense, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None


@lru_cache(maxsize=4)
def compares_images(folder: Path) -> bool:
    """Whether the folder is one of a model that puts images and texts into one space, as sentence-transformers has it
    (`0_CLIPModel/`)."""
    modules = read_json(folder / "modules.json")
    return bool(modules) and str(modules[0]["type"]).endswith(".CLIPModel")


@lru_cache(maxsize=4)
def read_head(folder: Path) -> Head:
    """What the folder says. Raises ModelRefused for modules that are not known here."""
    modules = read_json(folder / "modules.json")
    if not modules:
        return Head()
    kinds = [(str(module["type"]).rsplit(".", 1)[-1], folder / module["path"]) for module in modules]
    unknown = [kind for kind, _ in kinds if kind not in KINDS]
    if unknown:
        raise ModelRefused(f"The model's modules.json asks for {', '.join(unknown)}, which this server does not know.")
    poolings = [read_poolings(path) for kind, path in kinds if kind == "Pooling"]
    settings = read_json(kinds[0][1] / "sentence_bert_config.json") or {}
    wider = read_json(folder / "config_sentence_transformers.json") or {}
    return Head(
        poolings=poolings[0] if poolings else ("mean",),
        layers=tuple(read_dense(path) for kind, path in kinds if kind == "Dense"),
        normalize=any(kind == "Normalize" for kind, _ in kinds),
        max_length=settings.get("max_seq_length"),
        lower_case=bool(settings.get("do_lower_case")),
        prompts=wider.get("prompts") or {},
        default_prompt=wider.get("default_prompt_name"),
    )


def read_json(path: Path) -> Any:
    """The file's content, or None when there is no such file."""
    return msgspec.json.decode(path.read_bytes()) if path.is_file() else None


_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The library's flag → pooling, in the order in which it concatenates their vectors."""


def read_poolings(folder: Path) -> tuple[str, ...]:
    """The poolings that the module asks for, whichever way its config is written."""
    config = read_json(folder / "config.json") or {}
    mode = config.get("pooling_mode")
    if mode:
        return (mode,) if isinstance(mode, str) else tuple(mode)
    return tuple(name for flag, name in _POOLING_FLAGS.items() if config.get(flag)) or ("mean",)


def read_dense(folder: Path) -> Dense:
    """The dense layer in a module's folder. Raises ModelRefused when its files or activation are not known here."""
    config = read_json(folder / "config.json") or {}
    activation = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    weights = folder / "model.safetensors"
    if activation not in ACTIVATIONS or not weights.is_file():
        raise ModelRefused(f"The model's dense layer ({activation}) cannot be served; it needs {weights.name}.")
    tensors = read_safetensors(weights)
    return Dense(tensors["linear.weight"], tensors.get("linear.bias"), activation)


def read_safetensors(path: Path) -> dict[str, Array]:
    """The file's tensors as float32: 8 bytes of header length, a JSON header, then the raw values.

    Source: the safetensors format's own description.
    """
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = msgspec.json.decode(raw[8:start])
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = raw[start + begin : start + end]
        if entry["dtype"] == "BF16":  # the upper half of a float32
            array = (np.frombuffer(values, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            array = np.frombuffer(values, kinds[entry["dtype"]]).astype(np.float32)
        tensors[name] = array.reshape(entry["shape"])
    return tensors
