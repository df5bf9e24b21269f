"""What Whisper's generation needs of the library besides the usual: rules for timestamp tokens, one window at a time,
and where its decoder looked while it wrote.

The library's own `generate` for Whisper walks through long sound by itself, out of reach of a stream. Ours does that
in `tasks.shared.whisper` and asks here for one window.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
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


def shows_attention(model: Any) -> bool:
    """Whether `attend` can tell where the model's decoder looked."""
    return isinstance(model, WhisperGenerationMixin)


def attend(model: Any, tensors: Mapping[str, Any], heads: Sequence[tuple[int, int]]) -> torch.Tensor:
    """How much each of `heads`, (layer, head), of Whisper's decoder looked at each frame of `encoder_outputs` as it
    read each token of `decoder_input_ids`: (rows, heads, tokens, frames). `tensors`: these two.

    Only what is asked for is kept: all of it is gigabytes for a large model. The vocabulary is not scored.
    """
    decoder = model.get_decoder()
    kept: dict[int, torch.Tensor] = {}
    wanted = {layer: [head for of, head in heads if of == layer] for layer, _ in heads}
    usual = model.config._attn_implementation
    hooks = [
        decoder.layers[layer].encoder_attn.register_forward_hook(
            lambda _module, _given, made, layer=layer: kept.update({layer: made[1][:, wanted[layer]]})
        )
        for layer in wanted
    ]
    try:
        model.set_attn_implementation("eager")
        decoder(
            input_ids=tensors["decoder_input_ids"],
            encoder_hidden_states=tensors["encoder_outputs"].last_hidden_state,
            use_cache=False,
        )
    finally:
        model.set_attn_implementation(usual)
        for hook in hooks:
            hook.remove()
    return torch.stack([kept[layer][:, wanted[layer].index(head)] for layer, head in heads], dim=1)
