"""How long what a model of the library's reads may be, by its architecture and its tokenizer."""

from __future__ import annotations

from typing import Any

_NO_LIMIT = 10**9
"""Tokenizers without a stated limit carry 10**30."""


def find_positions(model: Any) -> int | None:
    """How many tokens the architecture has positions for; None when it has no such limit (T5, ALiBi)."""
    for name, module in model.named_modules():
        # RoBERTa and its kin start counting positions after the padding index, so some of the table is never used.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.weight.shape[0]) - int(module.padding_idx) - 1
    text = model.config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None) or getattr(text, "max_target_positions", None)
    return positions if isinstance(positions, int) and positions > 0 else None


def find_max_length(model: Any, tokenizer: Any) -> int | None:
    """The longest input in tokens. A tokenizer may ask for less than the positions allow; decoders do not care."""
    positions = find_positions(model)
    decoder_only = model.can_generate() and not model.config.is_encoder_decoder
    if tokenizer is None:
        return None
    stated = tokenizer.model_max_length if tokenizer.model_max_length < _NO_LIMIT else None
    if positions is None or stated is None or decoder_only:
        return positions or stated
    return min(positions, int(stated))
