"""Models whose repositories hold quantised weights: how the library is asked for them, and what is left to do once it
has loaded them. Which methods run here is the catalog's to say."""

from __future__ import annotations

import logging
from typing import Any

import torch

from modelyard.records.quantisation import KEPT, find_method


def find_quantisation(config: Any) -> str | None:
    """What the weights are quantised with, as the config of the whole model or of one of its parts says; None: nothing.

    To be asked before they are loaded: the library forgets it when it has made floating point of them.
    """
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        if (settings := getattr(part, "quantization_config", None)) is not None:
            return find_method(settings if isinstance(settings, dict) else settings.to_dict())
    return None


def loading_arguments(method: str | None, where: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is to be told besides: without a place, libraries choose an accelerator by themselves."""
    if method is None:
        return {}
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns at every product of 8 bits
    return {"device_map": {"": where}}


def settle_weights(model: Any, method: str | None, where: torch.device) -> None:
    """Makes of loaded weights what the model computes with. Changes it in place. Raises what the libraries raise."""
    if hasattr(model, "ct_decompress_hook"):
        # Else at the first request, and only if that goes through the model's own forward.
        model.hf_quantizer.compressor.decompress_model(model)
    if method is not None and method not in KEPT and where.type == "cpu":
        model.to(torch.float32)  # the library leaves what it did not unpack in the files' own type
