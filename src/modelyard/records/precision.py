"""Weights that are named after a shorter type: `model.fp16.safetensors` instead of `model.safetensors`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

PREFERRED = ("fp32", "fp16", "bf16")
"""Of several that a folder has, in this order; then by name."""


def find_precision(names: Iterable[str], stem: str, ending: str = ".safetensors") -> str | None:
    """The word between `stem` and `ending` in the names of weights, where none is called just that; None otherwise.

    Names are those of one folder, without it. Source: the `variant` of the libraries' `from_pretrained`.
    """
    said = re.compile(rf"{re.escape(stem)}\.([A-Za-z0-9_]+)(-\d+-of-\d+)?{re.escape(ending)}")
    plain = re.compile(rf"{re.escape(stem)}(-\d+-of-\d+)?{re.escape(ending)}")
    here = list(names)
    if any(plain.fullmatch(name) for name in here):
        return None
    found = sorted({match[1] for name in here if (match := said.fullmatch(name))})
    return next((name for name in PREFERRED if name in found), next(iter(found), None))


def of_precision(names: Iterable[str], stem: str, precision: str, ending: str = ".safetensors") -> list[str]:
    """The files of that precision, whole or in parts, sorted."""
    said = re.compile(rf"{re.escape(stem)}\.{re.escape(precision)}(-\d+-of-\d+)?{re.escape(ending)}")
    return sorted(name for name in names if said.fullmatch(name))
