"""Imports, for its side effect, the model library's losses without SciPy, which only they ask for and only training
needs: a third of a second of every start, and 36 MB. What asks for SciPy later, as some architectures do, gets it."""

from __future__ import annotations

import importlib
import sys

from transformers.utils.import_utils import is_scipy_available

if "scipy" not in sys.modules:
    sys.modules["scipy"] = None  # type: ignore[assignment]  # the documented way to make a module unfindable
    is_scipy_available.cache_clear()
    try:
        importlib.import_module("transformers.loss.loss_utils")
    finally:
        del sys.modules["scipy"]
        is_scipy_available.cache_clear()
