"""Weights that are named after a shorter type: `model.fp16.safetensors` instead of `model.safetensors`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

BF16 = "bf16"
"""The precision of weights of 16 bits that a model may be given, where those of 32 are usual."""
PREFERRED = ("fp32", "fp16", "bf16")
"""Of several that a folder has, in this order; then by name."""


def find_precision(names: Iterable[str], stem: str, ending: str = ".safetensors") -> str | None:
    """The word between `stem` and `ending` in the names of weights, where none is called just that; None otherwise.

    Names are those of one folder, without it. Source: the `variant` of the libraries' `from_pretrained`.
    """
    plain, said = _files_of(re.escape(stem), ending), _files_of(rf"{re.escape(stem)}\.([A-Za-z0-9_]+)", ending)
    here = list(names)
    if any(plain.fullmatch(name) for name in here):
        return None
    found = sorted({match[1] for name in here if (match := said.fullmatch(name))})
    return next((name for name in PREFERRED if name in found), next(iter(found), None))


def of_precision(names: Iterable[str], stem: str, precision: str, ending: str = ".safetensors") -> list[str]:
    """The files of that precision, whole or in parts, sorted."""
    said = _files_of(re.escape(f"{stem}.{precision}"), ending)
    return sorted(name for name in names if said.fullmatch(name))


def _files_of(start: str, ending: str) -> re.Pattern[str]:
    """The names of one file, or of its parts. `start`: a pattern."""
    return re.compile(rf"{start}(?:-\d+-of-\d+)?{re.escape(ending)}")
