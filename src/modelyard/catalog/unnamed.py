"""Models whose config.json names no class, as some have it that were published early: which class it would name.

Follows the model's type, and the heads whose weights are there. Pure but for the library's tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from modelyard.catalog.library import classes_of

HEADS: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = (
    (frozenset({"cls", "lm_head", "predictions", "generator_lm_head", "vocab_transform", "pred_layer"}),
     ("MASKED_LM", "CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "CTC")),
    (frozenset({"qa_outputs"}), ("QUESTION_ANSWERING",)),
)  # fmt: skip
"""Modules that only a model with a head has, and the tables of such models, in this order. What is called `classifier`
may be of texts, of tokens or of images: that says nothing."""
TIED = ("SPEECH_SEQ_2_SEQ", "IMAGE_TEXT_TO_TEXT", "CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM")
"""Tables of models whose head may have no weights of its own."""


def find_class(config: Mapping[str, Any], modules: Collection[str]) -> str | None:
    """The library's class for this config and weights with these `modules`, as far as they are known; None for a type
    that the library does not have."""
    kind = config.get("model_type")
    if not isinstance(kind, str):
        return None
    for head, tables in HEADS:
        if not head.isdisjoint(modules):
            return next((name for table in tables if (name := classes_of(table).get(kind))), classes_of("").get(kind))
    writes = kind not in classes_of("MASKED_LM") and not {"vocab_size", "text_config"}.isdisjoint(config)
    tables = (*TIED, "") if writes else ("",)
    return next((name for table in tables if (name := classes_of(table).get(kind))), None)
