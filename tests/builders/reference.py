"""The library's own models, to compare answers with: loaded without any of our code."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import transformers


@cache
def library_model(auto: str, folder: Path) -> Any:
    """The model in `folder` under the library's auto class `auto`, loaded once."""
    transformers.utils.logging.disable_progress_bar()
    return getattr(transformers, auto).from_pretrained(folder).eval()
