"""Sees to it, on import, that nothing in this process imports torch: 180 MB, and half a second. For workers of runtimes
that need none; the model library works without it as long as it does not find it."""

from __future__ import annotations

import os
import sys

# The documented way to make a module unfindable. What has torch already keeps it.
sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
