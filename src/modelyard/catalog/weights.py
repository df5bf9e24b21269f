"""Which of a model's files are its weights, in which format, and whether they are all there. Decides from names,
sizes and shard indexes; opens no weight file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelyard.catalog.files import Files, read_json
from modelyard.records.conversions import PICKLE_ENDINGS
from modelyard.records.precision import find_precision, of_precision
from modelyard.records.variants import DATA_FILE, MODEL_FILE

SAFETENSORS_STEMS = ("model", "diffusion_pytorch_model")
"""The names that `from_pretrained` looks for, without what follows the first dot."""

PICKLE_STEMS = ("pytorch_model", "diffusion_pytorch_model")
FOREIGN_ENDINGS = {
    ".gguf": "GGUF",
    ".onnx": "ONNX",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".tflite": "TFLite",
    ".mlmodel": "Core ML",
    ".nemo": "NeMo",
}

_TRAINING_STATE = ("training_args", "optimizer", "scheduler", "rng_state", "scaler", "random_states")


TYPES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "fp16": "F16", "bf16": "BF16", "fp32": "F32"}
"""How configs and names of files call what safetensors call so."""


class Format(StrEnum):
    """`ONNX`: a variant that was made here. `PICKLE` files run code when they are opened; `FOREIGN` ones belong to
    another runtime."""

    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    PICKLE = "pickle"
    FOREIGN = "foreign"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Weights:
    """`files`: what is there to load. `problem`: why it cannot be loaded as it is, a sentence without its full stop."""

    format: Format
    files: tuple[str, ...] = ()
    problem: str | None = None


def find_weights(files: Files, folders: Iterable[str]) -> Weights:
    """The weights in each of `folders` ("" is the model's own, others end with "/"), as one.

    A folder without weights is passed over: tokenizers and schedulers are parts too. One pickle among them makes the
    whole model pickle. Raises CorruptText for a broken shard index.
    """
    found = [weights for folder in folders if (weights := _in_folder(files, folder)).format is not Format.NONE]
    if not found:
        return Weights(Format.NONE)
    problem = next((weights.problem for weights in found if weights.problem), None)
    worst = max(found, key=lambda weights: _BADNESS.index(weights.format))
    names = tuple(name for weights in found if weights.format is not Format.FOREIGN for name in weights.files)
    return Weights(worst.format, names, problem or worst.problem)


def find_stored_type(config: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """The type of weights whose files are not opened, as their names or the config tell it; None: neither does."""
    parts = [part for name in names for part in _parts_of(name)]
    told = [*parts, str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")]
    return next((TYPES[word] for word in told if word in TYPES), None)


def _parts_of(name: str) -> list[str]:
    """What a file's name has between its first dot and its ending, before a part's number."""
    return [part.partition("-")[0] for part in name.rpartition("/")[2].split(".")[1:-1]]


def find_variant(files: Files) -> Weights:
    """The weights of a folder with a `variant.json`: the graph, and the file beside it that holds most of them."""
    if MODEL_FILE not in files.sizes:
        return Weights(Format.NONE)
    problem = None if DATA_FILE in files.sizes else f"{DATA_FILE}, which holds its weights, is missing"
    return Weights(Format.ONNX, tuple(name for name in (MODEL_FILE, DATA_FILE) if name in files.sizes), problem)


_NAMED = (
    (SAFETENSORS_STEMS, ".safetensors", Format.SAFETENSORS),
    (PICKLE_STEMS, ".bin", Format.PICKLE),
)
"""(stems, ending, format) under which the libraries look, in the order in which they do."""

_BADNESS = (Format.NONE, Format.SAFETENSORS, Format.PICKLE, Format.FOREIGN)


def _in_folder(files: Files, folder: str) -> Weights:
    here = {name.removeprefix(folder): size for name, size in files.sizes.items() if _parent(name) == folder}
    for stems, ending, format in _NAMED:
        for stem in stems:
            if weights := _by_name(files, folder, here, stem, ending, format):
                return weights
    return _by_ending(folder, here)


def _by_name(
    files: Files, folder: str, here: Mapping[str, int], stem: str, ending: str, format: Format
) -> Weights | None:
    """The weights under the name the libraries look for, whole or in shards; None when that name is not used here."""
    if stem + ending in here:
        return Weights(format, (folder + stem + ending,))
    index = f"{stem}{ending}.index.json"
    if index in here:
        shards = _shards(read_json(files, folder + index))
        missing = [shard for shard in shards if shard not in here]
        problem = None
        if missing or not shards:
            problem = f"{folder}{index} names {len(shards)} files of which {', '.join(missing) or 'none'} is missing"
        return Weights(format, tuple(folder + shard for shard in shards if shard in here), problem)
    shards = sorted(name for name in here if name.startswith(f"{stem}-0") and name.endswith(ending))
    if shards:
        return Weights(format, tuple(folder + shard for shard in shards), f"{folder}{index} is missing")
    return None


def _by_ending(folder: str, here: Mapping[str, int]) -> Weights:
    """Weights under other names: of a shorter type (`model.fp16.safetensors`), a checkpoint, another runtime's."""
    for stems, ending, format in _NAMED:
        for stem in stems:
            if precision := find_precision(here, stem, ending):
                parts = of_precision(here, stem, precision, ending)
                return Weights(format, tuple(folder + name for name in parts), _missing_part(folder, parts))
    pickles = [name for name in sorted(here) if name.endswith(PICKLE_ENDINGS) and not name.startswith(_TRAINING_STATE)]
    if pickles:
        return Weights(Format.PICKLE, (folder + pickles[0],))
    others = [name for name in sorted(here) if name.endswith(".safetensors")]
    if others:
        return Weights(
            Format.SAFETENSORS,
            tuple(folder + name for name in others),
            f"{folder}{others[0]} is not under the name that the libraries load, {folder}model.safetensors",
        )
    foreign = [
        (name, kind) for name in sorted(here) for ending, kind in FOREIGN_ENDINGS.items() if name.endswith(ending)
    ]
    if foreign:
        name, kind = foreign[0]
        return Weights(Format.FOREIGN, (folder + name,), f"its weights are in {kind} format only ({folder}{name})")
    return Weights(Format.NONE)


def _missing_part(folder: str, parts: Sequence[str]) -> str | None:
    """What is wrong with `x-00001-of-00003...` files of which not all are there."""
    count = re.search(r"-of-(\d+)\.", parts[0])
    if count is None or len(parts) == int(count[1]):
        return None
    return f"of the {int(count[1])} files of {folder}{parts[0]} {len(parts)} are there"


def _shards(index: Mapping[str, Any]) -> list[str]:
    weight_map = index.get("weight_map")
    return sorted({str(shard) for shard in weight_map.values()}) if isinstance(weight_map, dict) else []


def _parent(name: str) -> str:
    return name[: name.rfind("/") + 1]
