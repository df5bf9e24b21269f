"""Which models' rows may come and go between tokens, by what their classes and configs say."""

from __future__ import annotations

import inspect
from typing import Any

from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import get_layer_types_and_kwargs

from modelyard.worker.runtimes.row_cache import LAYER_TYPES

LIBRARY = "transformers.models."
"""The modules of the library's own architectures. A repository's code may keep state that its cache does not show."""

POSITIONS_BY_DISTANCE = frozenset({"bloom", "mpt"})
"""Types of models without positions as an argument, whose attention counts distances. All others without it count from
the first column, which padding takes."""

PREPARES_AS_USUAL = frozenset({"phi3", "phimoe"})
"""Types of models that prepare a pass by code of their own, for settings that LENGTH_BOUND names only."""

ALWAYS_DECODERS = frozenset({"gpt_neox", "gpt_neox_japanese"})
"""Types of models whose config has a setting `is_decoder` that they do not read. All others that have it, BERT and its
kin, look ahead unless it is set."""

LENGTH_BOUND = frozenset({"dynamic", "longrope"})
"""Kinds of rotary positions that depend on the longest row of a batch."""


def allows_rows(model: Any) -> bool:
    """Whether the cache is keys and values alone and a row in a batch, padded on the left, gets what it gets alone."""
    kind, config = type(model), model.config
    if not (isinstance(model, PreTrainedModel) and kind.__module__.startswith(LIBRARY) and kind.can_generate()):
        return False
    usual = kind.prepare_inputs_for_generation is GenerationMixin.prepare_inputs_for_generation
    accepted = inspect.signature(kind.forward).parameters
    return (
        not config.is_encoder_decoder
        and (getattr(config, "is_decoder", True) or config.model_type in ALWAYS_DECODERS)
        and not kind._is_stateful
        and kind._supports_default_dynamic_cache()
        and (usual or config.model_type in PREPARES_AS_USUAL)
        and {"input_ids", "attention_mask", "past_key_values"} <= set(accepted)
        and ("position_ids" in accepted or config.model_type in POSITIONS_BY_DISTANCE)
        and has_plain_layers(config)
    )


def has_plain_layers(config: Any) -> bool:
    """Whether every layer keeps keys and values, or nothing, and no position depends on a row's neighbours."""
    text = config.get_text_config(decoder=True)
    types, _ = get_layer_types_and_kwargs(text)
    rotary = getattr(text, "rope_parameters", None) or {}
    kinds = {value.get("rope_type") for value in (rotary, *rotary.values()) if isinstance(value, dict)}
    return LAYER_TYPES.issuperset(types) and not kinds & LENGTH_BOUND and getattr(text, "is_causal", True)
