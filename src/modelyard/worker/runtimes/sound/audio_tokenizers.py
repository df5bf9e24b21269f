"""Processors that turn a model's codes into sound by a model of their own, which the folder `audio_tokenizer/` holds.
Files of such a processor name that model by its id on the hub; a worker reads nothing but its own folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import AutoFeatureExtractor, AutoTokenizer

from modelyard.errors import ModelRefused

FOLDER = "audio_tokenizer"


def load_processor(path: Path, kind: Any, model: Any) -> Any:
    """The processor of class `kind` of the folder `path`, with its audio tokenizer on the device of `model`.

    Raises ModelRefused when there is no audio tokenizer.
    """
    folder = path / FOLDER
    name = kind.audio_tokenizer_class
    if not (folder / "config.json").exists():
        raise ModelRefused(
            f"{path.name} makes codes of sound and has no {name} to make sound of them. Put the one that its card "
            f"names into its folder as {FOLDER}/."
        )
    decoder = getattr(transformers, name).from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return kind(
        feature_extractor=AutoFeatureExtractor.from_pretrained(path, local_files_only=True),
        tokenizer=AutoTokenizer.from_pretrained(path, local_files_only=True),
        audio_tokenizer=decoder.eval().to(model.device),
    )
