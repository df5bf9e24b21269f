"""Quantised weights: how a model's config names the method by which they were made, and which methods compute with them
as they are stored. Which of them run here, and with what, is the catalog's to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEPT = frozenset({"bitsandbytes", "torchao"})
"""The methods that compute with the weights as they are stored; those of others become floating point."""


def find_method(settings: Mapping[str, Any]) -> str:
    """The method that a `quantization_config` names, in lower case; "" where it names none. Models of older versions of
    bitsandbytes have other signs."""
    if settings.get("load_in_8bit") or settings.get("load_in_4bit"):
        return "bitsandbytes"
    return str(settings.get("quant_method") or "").lower()
