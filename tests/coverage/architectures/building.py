"""A tiny model of any class as a folder: config, random weights of a fixed seed, tokenizer, processor."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, model_type_to_module_name

from tests.coverage.architectures.configs import LEVELS, VOCABULARY, small_config
from tests.coverage.architectures.words import small_tokenizer
from tests.coverage.cases import Case

MOST_PARAMETERS = 60_000_000
"""Of one model. A quarter of a gigabyte."""
LABELS = {0: "red", 1: "green", 2: "blue"}
_TOKENS = ("bos", "eos", "pad", "cls", "sep", "unk", "mask")


def build(case: Case, folder: Path) -> Any:
    """Writes the model of `case` into `folder` and returns it. Raises what the library raises."""
    tokenizer = small_tokenizer(case.family)
    model = build_model(case, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def build_model(case: Case, tokenizer: Any) -> Any:
    """The model, from the first level of smallness that its class takes."""
    kind, errors = find_class(case.family, case.name), []
    for level in LEVELS:
        try:
            config = small_config(case.family, level, **token_fields(tokenizer), **label_fields(case.head))
            refuse_large(kind, config)
            torch.manual_seed(0)
            return spread(kind(config).eval())
        except Exception as error:  # the library raises anything for numbers that do not fit together
            errors.append(error)
    raise errors[0]


def refuse_large(kind: Any, config: Any) -> None:
    """Raises ValueError for a model that is not tiny."""
    with torch.device("meta"):
        parameters = sum(each.numel() for each in kind(config).parameters())
    if parameters > MOST_PARAMETERS:
        raise ValueError(f"{parameters:,} parameters, which is more than {MOST_PARAMETERS:,}")


def find_class(family: str, name: str) -> Any:
    """The class called `name` of the models of type `family`."""
    module = importlib.import_module(f"transformers.models.{model_type_to_module_name(family)}")
    found = getattr(module, name, None)
    return found if found is not None else getattr(importlib.import_module(CONFIG_MAPPING[family].__module__), name)


def token_fields(tokenizer: Any) -> dict[str, Any]:
    """What a config says of its tokenizer."""
    known = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id", None) for name in _TOKENS}
    start = known["bos_token_id"] if known["bos_token_id"] is not None else known["pad_token_id"]
    fields = {name: value for name, value in known.items() if value is not None}
    return {**fields, "vocab_size": max(VOCABULARY, len(tokenizer)), "decoder_start_token_id": start}


def label_fields(head: str) -> dict[str, Any]:
    """Three labels, for heads that have some."""
    if "classification" not in head and "detection" not in head and "segmentation" not in head:
        return {}
    return {"id2label": LABELS, "label2id": {label: number for number, label in LABELS.items()}}


def spread(model: Any) -> Any:
    """The model with larger random weights: fresh ones are so small that every input gets nearly the same answer."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0.0, module.in_features**-0.5)
            elif isinstance(module, torch.nn.Embedding):
                module.weight.normal_(0.0, 0.2)
    return model
