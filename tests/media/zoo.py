"""A models folder for tests of media over HTTP: one model that sees, one that hears, one that reads."""

from __future__ import annotations

from pathlib import Path

SEES, HEARS, READS = "media/vit", "media/wav2vec2", "media/classifier"
FAMILIES = {SEES: "vit_classifier", HEARS: "wav2vec2_classifier", READS: "bert_classifier"}


def build_zoo(folder: Path) -> Path:
    """Builds them; returns the folder."""
    from tests.builders import build

    for model_id, family in FAMILIES.items():
        build(family, folder / model_id)
    return folder
