"""What a sentence-transformers folder says beyond the model: pooling, layers after it, length, prompts. And what a
folder of model2vec says, whose tables that library reads too.

Source: the files that these libraries write beside a model: modules.json, config_sentence_transformers.json, and one
folder per module; config.json of model2vec.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from modelyard.errors import ModelRefused
from modelyard.records.sentence_modules import (
    KINDS,
    ROUTER_FILE,
    STATIC,
    TABLE,
    WEIGHING,
    WORD_WEIGHTS,
    Modules,
    join,
    kind_of,
    take_routes,
    weighs_words,
)
from modelyard.tasks.base import Head as OutputLayer
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
LAYER_NORM_EPSILON = 1e-5
"""Of torch's LayerNorm, which the library keeps."""
TABLE_TOKENS = 512
"""Most tokens that model2vec reads of a text."""


class Layer(Protocol):
    """What happens to a vector after pooling."""

    def apply(self, vector: Array) -> Array:
        """The layer's output, (out,), for a vector of (in,)."""


@dataclass(frozen=True, slots=True)
class Dense:
    """`weight`: (out, in); `bias`: (out,). `residual`: its input is added to its output, by way of this matrix,
    (out, in), where it is not as wide; None: it is not added."""

    weight: Array
    bias: Array | None
    activation: str
    residual: Array | None = None

    def apply(self, vector: Array) -> Array:
        """See Layer."""
        output = self.weight @ vector if self.bias is None else self.weight @ vector + self.bias
        output = ACTIVATIONS[self.activation](output)
        return output if self.residual is None else output + self.residual @ vector


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Centred, scaled to a variance of 1, then by `weight` and `bias`, both (width,)."""

    weight: Array
    bias: Array

    def apply(self, vector: Array) -> Array:
        """See Layer."""
        centred = vector - vector.mean()
        normed: Array = centred / np.sqrt(vector.var() + LAYER_NORM_EPSILON) * self.weight + self.bias
        return normed


class Unit:
    """Scaled to length 1."""

    def apply(self, vector: Array) -> Array:
        """See Layer."""
        return unit(vector)


def unit(vector: Array) -> Array:
    """The vector scaled to length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


@dataclass(frozen=True, slots=True)
class Weighing:
    """How what a masked language model says of each token becomes a weight for each word of its vocabulary (SPLADE).
    `doubled`: the logarithm is taken twice; `added`: over the tokens, in place of the largest."""

    doubled: bool
    added: bool

    def apply(self, logits: Array) -> Array:
        """(vocabulary,) weights, none below 0, of (tokens, vocabulary) logits without padding."""
        weights = np.log1p(np.maximum(logits, 0))
        weights = np.log1p(weights) if self.doubled else weights
        pooled: Array = weights.sum(axis=0) if self.added else weights.max(axis=0)
        return pooled


@dataclass(frozen=True, slots=True)
class LayerMix:
    """A token's states as the weighted mean of what layers say of it. `start`: the first of them, where 0 is the
    embeddings; `weights`: (layers,)."""

    start: int
    weights: Array

    def apply(self, states: Sequence[Array]) -> Array:
        """(..., width) states of every layer, in their order, as one."""
        mixed = [weight * each for weight, each in zip(self.weights, states[self.start :], strict=True)]
        mean: Array = np.sum(mixed, axis=0) / self.weights.sum()
        return mean


@dataclass(frozen=True, slots=True)
class Head:
    """What happens to a text before the model and to its states after. The defaults are for a plain model.

    `weighing`: in place of pooling. `query_weights`: what each word of a query weighs, (vocabulary,), where no model is
    asked about queries; None: it is. `special_tokens`: the tokenizer's own stand around a text. `known_words`: tokens
    that stand for what the tokenizer does not know are left out.
    """

    poolings: tuple[str, ...] = ("mean",)
    weighing: Weighing | None = None
    query_weights: Array | None = None
    mix: LayerMix | None = None
    layers: tuple[Layer, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    special_tokens: bool = True
    known_words: bool = False


@lru_cache(maxsize=4)
def compares_images(folder: Path) -> bool:
    """Whether the folder is one of a model that puts images and texts into one space, as sentence-transformers has it
    (`0_CLIPModel/`)."""
    modules = read_modules(folder)
    return bool(modules) and str(modules[0]["type"]).endswith(".CLIPModel")


@lru_cache(maxsize=4)
def read_head(folder: Path) -> Head:
    """What the folder says. Raises ModelRefused for modules that are not known here."""
    modules = read_modules(folder)
    if not modules:
        return read_table_head(folder)
    kinds = [(kind_of(module), folder / module["path"]) for module in modules]
    unknown = [kind for kind, _ in kinds if kind not in KINDS]
    if unknown:
        raise ModelRefused(f"The model's modules.json asks for {', '.join(unknown)}, which this server does not know.")
    tables = [path for kind, path in kinds if kind == WORD_WEIGHTS]
    kinds = [(kind, path) for kind, path in kinds if kind != WORD_WEIGHTS]
    poolings = [read_poolings(path) for kind, path in kinds if kind == "Pooling"]
    weighings = [read_weighing(path) for kind, path in kinds if kind == WEIGHING]
    mixes = [read_mix(path) for kind, path in kinds if kind == "WeightedLayerPooling"]
    settings = read_json(kinds[0][1] / "sentence_bert_config.json") or {}
    wider = read_json(folder / "config_sentence_transformers.json") or {}
    normalize = kinds[-1][0] == "Normalize"
    return Head(
        poolings=poolings[0] if poolings else ("mean",),
        weighing=weighings[0] if weighings else None,
        query_weights=read_weights(tables[0])["weight"] if tables else None,
        mix=mixes[0] if mixes else None,
        layers=tuple(LAYERS[kind](path) for kind, path in kinds[: -1 if normalize else None] if kind in LAYERS),
        normalize=normalize,
        max_length=settings.get("max_seq_length"),
        lower_case=bool(settings.get("do_lower_case")),
        prompts=wider.get("prompts") or {},
        default_prompt=wider.get("default_prompt_name"),
        special_tokens=kinds[0][0] != STATIC,
    )


def heads_of(folder: Path, heads: tuple[OutputLayer, ...]) -> tuple[OutputLayer, ...]:
    """The output layers under which the folder's model is to be loaded for a task that wants one of `heads`: where it
    weighs words in place of making a vector, that which says something of every word."""
    modules = read_modules(folder)
    return ("masked-lm",) if "base" in heads and weighs_words(modules) else heads


def read_modules(folder: Path) -> Modules:
    """The modules that the folder lists, those of a router in its place; none where it lists none."""
    modules = read_json(folder / "modules.json") or ()
    routes = read_json(folder / join(modules[0].get("path"), ROUTER_FILE)) if modules else None
    return take_routes(modules, routes or {})


def read_table_head(folder: Path) -> Head:
    """What a folder without modules says: of a table of model2vec, else nothing."""
    config = read_json(folder / "config.json") or {}
    if config.get("model_type") != TABLE:
        return Head()
    return Head(
        normalize=bool(config.get("normalize")), max_length=TABLE_TOKENS, special_tokens=False, known_words=True
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


def read_weighing(folder: Path) -> Weighing:
    """What a module of SPLADE asks for."""
    config = read_json(folder / "config.json") or {}
    return Weighing(
        doubled=config.get("activation_function") == "log1p_relu", added=config.get("pooling_strategy") == "sum"
    )


def read_mix(folder: Path) -> LayerMix:
    """How a module mixes the layers' states. Raises ModelRefused without its weights."""
    config = read_json(folder / "config.json") or {}
    return LayerMix(int(config.get("layer_start", 4)), read_weights(folder)["layer_weights"])


def read_dense(folder: Path) -> Dense:
    """The dense layer in a module's folder. Raises ModelRefused when its files or activation are not known here."""
    config = read_json(folder / "config.json") or {}
    activation = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ModelRefused(
            f"The model's dense layer cannot be served: it has the activation {activation}, not {known}."
        )
    tensors = read_weights(folder)
    weight = tensors["linear.weight"]
    own: Array = np.eye(len(weight), dtype=weight.dtype)
    residual = tensors.get("residual.weight", own) if config.get("use_residual") else None
    return Dense(weight, tensors.get("linear.bias"), activation, residual)


def read_norm(folder: Path) -> LayerNorm:
    """The layer norm in a module's folder. Raises ModelRefused without its weights."""
    tensors = read_weights(folder)
    return LayerNorm(tensors["norm.weight"], tensors["norm.bias"])


LAYERS: Mapping[str, Callable[[Path], Layer]] = {
    "Dense": read_dense,
    "LayerNorm": read_norm,
    "Normalize": lambda _folder: Unit(),
}
"""The module → how its layer is read from its folder. Dropout does nothing to an answer."""


def read_weights(folder: Path) -> dict[str, Array]:
    """A module's tensors. Raises ModelRefused when they are not there."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelRefused(f"The model's module {folder.name} cannot be served: it needs {weights.name}.")
    return read_safetensors(weights)


STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "|i1", "I32": "<i4", "I64": "<i8"}
"""The format's names of types → numpy's."""
WHOLE = frozenset({"I32", "I64"})
"""Those of places in another tensor. Numbers of 8 bits stand for values."""


def read_safetensors(path: Path) -> dict[str, Array]:
    """The file's tensors, floats as float32: 8 bytes of header length, a JSON header, then the raw values, which stay
    in the file where they need no other type, and are shared with whoever else reads it.

    Source: the safetensors format's own description.
    """
    raw = np.memmap(path, np.uint8, mode="r")
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    header = msgspec.json.decode(raw[8:start].tobytes())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = np.asarray(raw[start + begin : start + end])
        if entry["dtype"] == "BF16":  # the upper half of a float32
            array = (values.view("<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            array = values.view(STORED[entry["dtype"]])
            array = array if entry["dtype"] in WHOLE else array.astype(np.float32, copy=False)
        tensors[name] = array.reshape(entry["shape"])
    return tensors
