"""Every family of tiny models by name, and how one is made. Imports the model libraries."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.builders import families, generative, hearing, multimodal, pages, sentences, vision, voices

FAMILIES = {
    **families.FAMILIES,
    **vision.FAMILIES,
    **generative.FAMILIES,
    **multimodal.FAMILIES,
    **hearing.FAMILIES,
    **pages.FAMILIES,
    **sentences.FAMILIES,
    **voices.FAMILIES,
}


def make(family: str, folder: Path) -> None:
    """Makes the model of `family` in `folder`. The same family is the same model every time."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        FAMILIES[family](folder)
