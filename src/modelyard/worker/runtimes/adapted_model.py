"""A model with an adapter of LoRA beside its weights, which it shares with its base and with other adapters.

Owns what is read and checked of an adapter that is loaded while its base serves. It does without peft, whose import
takes seconds.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

from modelyard.errors import ModelRefused
from modelyard.records.adapters import ALPHAS, CONFIG_FILE, RANKS, WEIGHTS_FILE, base_name_of, find_number
from modelyard.worker.runtimes.adapter_layers import LoraWeights, Pair
from modelyard.worker.runtimes.chat_templates import limit_template
from modelyard.worker.runtimes.failures import loading_errors
from modelyard.worker.runtimes.processors import has_tokenizer, load_parts
from modelyard.worker.runtimes.transformers import TransformersModel

DOWN, UP = ".lora_A.weight", ".lora_B.weight"
LINEAR = (torch.nn.Linear, Conv1D)
STATE = ("truncation", "padding")
"""What the library's tokenizers keep of the call before."""


class AdaptedModel(TransformersModel):
    """The base in every respect but its weights and, where the adapter brings one, its chat template: what its folder
    says of itself is the base's, too."""

    def __init__(self, base: TransformersModel, tokenizer: Any, weights: LoraWeights) -> None:
        vars(self).update(vars(base))
        self.tokenizer = tokenizer
        self.lora = weights
        self.speech = None  # what says the base's answers was not trained with the adapter

    @contextmanager
    def _computing(self, inputs: Mapping[str, Any]) -> Iterator[None]:
        with self.lora.layers.beside_all(self.lora), super()._computing(inputs):
            yield


def load_beside(base: Any, path: Path) -> Callable[[], AdaptedModel]:
    """Reads the adapter in the folder `path`, on any thread; what then puts it beside the base, on the model's thread
    between two passes. The folder is not needed any more after that.

    Raises ModelRefused when it does not fit the base, or this way of serving it; BootFailed.
    """
    if not isinstance(base, TransformersModel):
        raise ModelRefused("The adapter's base is held by a runtime that takes none.")
    with loading_errors(path, str(base.device)):
        pairs = read_pairs(path, base.module)
        tokenizer = find_tokenizer(path, base)
    return lambda: AdaptedModel(base, tokenizer, LoraWeights(base.adapters, scale_pairs(path, pairs)))


def read_pairs(path: Path, model: torch.nn.Module) -> dict[str, Pair]:
    """The adapter's matrices by layer, as they are stored. Raises ModelRefused unless every layer that it names has
    both, they fit, and there is nothing else."""
    weights = {base_name_of(name): weight for name, weight in load_file(path / WEIGHTS_FILE).items()}
    config = read_config(path)
    targets, ranks = config["target_modules"], config.get(RANKS) or {}
    wanted = {name: layer for name, layer in model.named_modules() if is_target(name, targets)}
    expected = {name + end for name in wanted for end in (DOWN, UP)}
    if strange := sorted(set(weights) - expected):
        raise ModelRefused(f"The adapter was made for another model: its base has no place for {strange[0]}.")
    if lacking := sorted(expected - set(weights)):
        raise ModelRefused(f"The adapter is not complete: it has no weights for {lacking[0]}.")
    if not expected:
        raise ModelRefused(f"The adapter was made for another model: its base has no {', '.join(targets)}.")
    pairs = {}
    for name, layer in wanted.items():
        pairs[name] = down, up = weights[name + DOWN], weights[name + UP]
        if not isinstance(layer, LINEAR):
            raise ModelRefused(f"The adapter changes {name}, which is no linear layer.")
        rank = len(down)
        if not rank or (down.shape, up.shape) != ((rank, inputs_of(layer)), (outputs_of(layer), rank)):
            raise ModelRefused(
                f"The adapter was made for another model: its weights for {name} are {tuple(up.shape)} times "
                f"{tuple(down.shape)}, and the layer has {inputs_of(layer)} inputs and {outputs_of(layer)} outputs."
            )
        if rank != (told := find_number(ranks, name, config.get("r", rank))):
            raise ModelRefused(
                f"The adapter's weights for {name} are of rank {rank}, and its {CONFIG_FILE} says {told}."
            )
    return pairs


def scale_pairs(path: Path, pairs: Mapping[str, Pair]) -> dict[str, Pair]:
    """The matrices, the second ones scaled. Raises ModelRefused for what are no numbers."""
    config = read_config(path)
    alphas = config.get(ALPHAS) or {}
    scaled = {}
    for name, (down, up) in pairs.items():
        rank = len(down)
        alpha = find_number(alphas, name, config["lora_alpha"])
        up = up.float() * (alpha / (sqrt(rank) if config.get("use_rslora") else rank))
        if not (down.isfinite().all() and up.isfinite().all()):
            raise ModelRefused(f"The adapter's weights for {name} hold NaN or infinity.")
        scaled[name] = down.clone(), up
    return scaled


def read_config(path: Path) -> dict[str, Any]:
    """What the adapter says of itself."""
    config: dict[str, Any] = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8"))
    return config


def is_target(name: str, targets: Sequence[str]) -> bool:
    """Whether PEFT would give the layer `name` an adapter that names these layers."""
    return any(name == target or name.endswith(f".{target}") for target in targets)


def inputs_of(layer: Any) -> int:
    """How wide what it is given is."""
    return int(layer.weight.shape[0] if isinstance(layer, Conv1D) else layer.weight.shape[1])


def outputs_of(layer: Any) -> int:
    """How wide what it gives is."""
    return int(layer.weight.shape[1] if isinstance(layer, Conv1D) else layer.weight.shape[0])


def find_tokenizer(path: Path, base: TransformersModel) -> Any:
    """The base's tokenizer, with the adapter's chat template where the adapter brings a tokenizer. Raises ModelRefused
    for one that makes other tokens: what holds texts to a form, and much else, is made for the base's."""
    if not has_tokenizer(path):
        return base.tokenizer
    own: Any = load_parts(path, "causal-lm", base.module.config, remote_code=False)[0]
    if describe_tokenizer(own) != describe_tokenizer(base.tokenizer):
        raise ModelRefused("The adapter brings a tokenizer that is not its base's.", path=str(path))
    shared = copy.copy(base.tokenizer)  # whose vocabulary is the same: that of 50,000 words takes 20 MB
    vars(shared).pop("apply_chat_template", None)  # it renders the base's template
    shared.chat_template = own.chat_template
    limit_template(shared)
    return shared


def describe_tokenizer(tokenizer: Any) -> Any:
    """All that decides about its tokens; of one that the library does not describe, itself."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer
    told = {name: value for name, value in json.loads(backend.to_str()).items() if name not in STATE}
    return told, {name: token for name, token in tokenizer.special_tokens_map.items() if name != "pad_token"}
