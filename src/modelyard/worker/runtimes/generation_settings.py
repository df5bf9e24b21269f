"""Generation settings: a request's over the model's own, and how many tokens they allow. Runs no model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import GenerationConfig

from modelyard.errors import InvalidRequest
from modelyard.worker.runtimes.failures import first_line

DEFAULT_NEW_TOKENS = 256
"""Tokens made when a request gives no length, and the model's own files give none either."""

UNSET_LENGTHS = {"max_length": None, "max_new_tokens": None, "min_length": None, "min_new_tokens": None}


def take_generation_defaults(model: Any) -> Any:
    """The model's generation settings, which it gives up: `resolve_settings` alone decides what a request runs with.

    A causal model's stored total length is dropped, as it is most often the library's old default of 20; an
    encoder-decoder's is kept, as it was chosen for the task it was trained on.
    """
    defaults = getattr(model, "generation_config", None)
    if defaults is None:
        return GenerationConfig()
    model.generation_config = GenerationConfig()
    if not model.config.is_encoder_decoder:
        defaults.max_length = defaults.min_length = None
    return defaults


def resolve_settings(defaults: Any, options: Mapping[str, Any], pad_token_id: int | None) -> tuple[Any, int | None]:
    """The request's `options` over the model's `defaults`, and the seed, None when nothing is drawn at random. A form
    that the text is held to is no setting.

    `pad_token_id`: what pads where the defaults do not say. Raises InvalidRequest.
    """
    settings = {name: value for name, value in options.items() if name != "form"}
    seed, extra_ends = settings.pop("seed", None), settings.pop("stop_token_ids", ())
    config = copy.deepcopy(defaults)
    for limits in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        if settings.keys() & set(limits):
            vars(config).update(dict.fromkeys(limits))
    vars(config).update(settings)
    vars(config).update(eos_token_id=sorted({*as_list(config.eos_token_id), *extra_ends}) or None)
    if config.pad_token_id is None:
        config.pad_token_id = pad_token_id
    drop_unused(config)
    check_sequences(config)
    try:
        config.validate(user_set_attributes=set())
    except ValueError as error:
        raise InvalidRequest(f"params: {first_line(error)}", field="params") from error
    return config, seed if config.do_sample else None


def drop_unused(config: Any) -> None:
    """Unsets what the chosen way of decoding does not read; the library would warn about each of them."""
    unused: tuple[str, ...] = ()
    if not config.do_sample:
        unused += ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
    if (config.num_beams or 1) == 1:
        unused += ("early_stopping", "length_penalty")
    vars(config).update(dict.fromkeys(unused))


def check_sequences(config: Any) -> None:
    """Raises InvalidRequest when more sequences are asked for than this way of decoding has."""
    wanted, beams = config.num_return_sequences or 1, config.num_beams or 1
    if wanted > beams and (beams > 1 or not config.do_sample):
        raise InvalidRequest(
            field="params.num_return_sequences",
            got=wanted,
            accepted="1 without sampling, up to num_beams with beams; set do_sample to true for more",
        )


def new_token_limit(config: Any, prompt: int, window: int | None) -> int:
    """Most tokens to make after a prompt of `prompt` tokens, at least 1."""
    if config.max_new_tokens is not None:
        limit = config.max_new_tokens
    elif config.max_length is not None:
        limit = config.max_length - prompt
    else:
        limit = DEFAULT_NEW_TOKENS
    return max(1, int(limit) if window is None else min(int(limit), window - prompt))


def new_token_minimum(config: Any, prompt: int, window: int | None) -> int:
    """Fewest tokens to make after a prompt of `prompt` tokens. A forced end needs the last place for itself."""
    least = (config.min_length or 0) - prompt if config.min_new_tokens is None else config.min_new_tokens
    most = new_token_limit(config, prompt, window)
    return max(0, min(int(least), most if config.forced_eos_token_id is None else most - 1))


def as_list(value: int | Sequence[int] | None) -> list[int]:
    """A token id setting, which may be one id, several or none, as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)
