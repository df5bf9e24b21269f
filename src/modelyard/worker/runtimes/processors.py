"""Processors that the library refuses to load because one part of them wants torchvision, which is not installed.

That part reads videos; tasks here show a video as its frames, so it is never asked. The rest is put together by hand.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

_PARTS = {
    "image_processor": "AutoImageProcessor",
    "feature_extractor": "AutoFeatureExtractor",
    "tokenizer": "AutoTokenizer",
}


def load_without_video(path: Path, config: Any) -> Any | None:
    """The processor in the folder without the part that reads videos; None for models whose processor has no such part.

    Local files and the library's own code only. Raises what the library raises when another part cannot be loaded.
    """
    name = PROCESSOR_MAPPING_NAMES.get(config.model_type)
    kind = None if name is None else getattr(transformers, name)
    if kind is None or "video_processor" not in inspect.signature(kind.__init__).parameters:
        return None
    accepted = inspect.signature(kind.__init__).parameters
    settings = read_settings(path, frozenset(accepted))
    parts = {
        part: getattr(transformers, auto).from_pretrained(path, local_files_only=True)
        for part, auto in _PARTS.items()
        if part in accepted
    }
    # The library checks that each part is one of its own, and for that imports what is not there.
    unchecked = type(kind.__name__, (kind,), {"check_argument_for_proper_class": lambda _self, _name, part: type(part)})
    template = getattr(parts.get("tokenizer"), "chat_template", None)
    return unchecked(**{**settings, **parts, "video_processor": None, "chat_template": template})


def read_settings(path: Path, accepted: frozenset[str]) -> dict[str, Any]:
    """The processor's own settings, without those of its parts."""
    file = path / "processor_config.json"
    stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {name: value for name, value in stored.items() if name in accepted and not isinstance(value, dict)}
