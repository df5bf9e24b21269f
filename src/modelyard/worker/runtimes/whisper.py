"""What Whisper's generation needs of the library besides the usual: rules for timestamp tokens, one window at a time.

The library's own `generate` for Whisper walks through long sound by itself, out of reach of a stream. Ours does that
in `tasks.shared.whisper` and asks here for one window.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
from transformers.models.whisper.generation_whisper import WhisperGenerationMixin


def find_generate(model: Any) -> Callable[..., Any]:
    """The model's `generate`; for Whisper, the plain one that it is built on."""
    if isinstance(model, WhisperGenerationMixin):
        plain: Callable[..., Any] = super(WhisperGenerationMixin, model).generate
        return plain
    generate: Callable[..., Any] = model.generate
    return generate


def timestamp_rules(config: Any, prompt: int) -> list[Any]:
    """The logits processors that make timestamp tokens come in pairs and in order, when `config` asks for them.

    `prompt`: how many ids the decoder starts from.
    """
    if not getattr(config, "return_timestamps", False):
        return []
    config = copy.copy(config)
    config.eos_token_id = min(config.eos_token_id)  # the rules want one id: all text comes before it
    return [WhisperTimeStampLogitsProcessor(config, begin_index=prompt)]
