"""Adapters of PEFT: small weights that change a base model, in a folder of their own.

Owns their files' names, what their config says, and what the names and shapes of their weights tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"

LORA = "LORA"
MERGED_TYPES = frozenset(
    {LORA, "ADALORA", "BOFT", "FOURIERFT", "HRA", "IA3", "LN_TUNING", "LOHA", "LOKR", "OFT", "VERA"}
)
"""The types of PEFT that can be put into a base's own weights, and whose answers are compared in the tests."""
MAX_RANK = 16_384
"""Published adapters have ranks of up to 512; beyond the width of its layers an adapter gains nothing."""

RANKS, ALPHAS = "rank_pattern", "alpha_pattern"
"""Settings of LoRA that give some layers another rank, or another weight, than the rest has: by names, or by regular
expressions."""

_NAME = re.compile(r"[\w.^$]+")
"""What a pattern may consist of to be read here: as a regular expression it takes no time to speak of."""
_PREFIX = "base_model.model."
_HEADS = ("score", "classifier", "qa_outputs", "classification_head")
"""What transformers calls the layer that gives a classifier's labels."""
_EMBEDDINGS = ("embed_tokens.weight", "word_embeddings.weight", "wte.weight", "lm_head.weight", "shared.weight")
"""How the names of weights end that have a row for each word of a vocabulary."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter's files say of it. `base_id`: the model that it changes. `kind`: the type of PEFT, such as LORA;
    `rank`: of LoRA's matrices. `target_modules`: the layers that it changes, in its own words. `task_type`: what PEFT
    calls the task, None where it does not say. `has_template`: it has a chat template of its own. `is_plain`: it is
    pairs of matrices beside layers, and nothing else. `revision`: of the base; None: it says none."""

    base_id: str
    kind: str = LORA
    rank: int | None = None
    target_modules: tuple[str, ...] = ()
    task_type: str | None = None
    has_template: bool = False
    is_plain: bool = False
    revision: str | None = None


def describe_adapter(adapter: Adapter | None) -> dict[str, Any] | None:
    """An adapter as lists show it; None for other models."""
    if adapter is None:
        return None
    return {
        "base": adapter.base_id,
        "type": adapter.kind,
        "rank": adapter.rank,
        "targetModules": list(adapter.target_modules),
    }


def are_names(patterns: object) -> bool:
    """Whether a setting gives numbers to layers by their names, or parts of them, and nothing that takes time to
    match."""
    return isinstance(patterns, Mapping) and all(
        isinstance(key, str) and _NAME.fullmatch(key) and isinstance(value, int | float)
        for key, value in patterns.items()
    )


def find_number(patterns: Mapping[str, float], layer: str, otherwise: float) -> float:
    """The number of a layer by RANKS or ALPHAS: that of the first pattern which fits the end of its name, behind a dot.
    Source: peft 0.21, `utils.other.get_pattern_key`."""
    fitting = (key for key in patterns if re.fullmatch(rf"(.*\.)?({key})", layer))
    return patterns.get(next(fitting, layer), otherwise)


def base_name_of(name: str) -> str:
    """What the base calls the weight that an adapter has under `name`, where it is no part of a pair of matrices."""
    return name.removeprefix(_PREFIX)


def count_labels(shapes: Mapping[str, Sequence[int]]) -> int | None:
    """How many labels the adapter's own last layer has; None when it brings none."""
    heads = [name for name in sorted(shapes) if is_head(name) and len(shapes[name]) == 2]
    return shapes[heads[-1]][0] if heads else None


def count_words(shapes: Mapping[str, Sequence[int]]) -> int | None:
    """How many words the embeddings have that the adapter brings whole; None when it brings none."""
    rows = [shape[0] for name, shape in shapes.items() if name.endswith(_EMBEDDINGS) and len(shape) == 2]
    return max(rows, default=None)


def is_head(name: str) -> bool:
    """Whether a weight belongs to a last layer that the adapter brings whole."""
    return base_name_of(name).split(".")[0] in _HEADS and "lora_" not in name and name.endswith(".weight")
