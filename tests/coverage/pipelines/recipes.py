"""Tiny parts of the families of pipelines: one function for each family gives all that its classes may ask for, and
each class takes of it what its constructor names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch

from tests.coverage.pipelines import transformer_families, unet_families

Recipe = Callable[[str], dict[str, Any]]
"""A class's name → its parts, and more that it does not take."""
NOTHING = ("safety_checker", "feature_extractor", "image_encoder", "watermarker")


def build(name: str, recipe: Recipe, folder: Path) -> None:
    """Writes the pipeline as a published repository would hold it; weights are drawn from one seed."""
    torch.manual_seed(0)
    parts: dict[str, Any] = {**dict.fromkeys(NOTHING), "requires_safety_checker": False, "add_watermarker": False}
    parts |= recipe(name)
    kind = getattr(diffusers, name)
    taken = inspect.signature(kind.__init__).parameters
    kind(**{key: value for key, value in parts.items() if key in taken}).save_pretrained(folder)


RECIPES: tuple[tuple[tuple[str, ...], Recipe], ...] = (
    (("StableDiffusionXL", "TextToVideoZeroSDXL", "AnimateDiffSDXL"), unet_families.stable_diffusion_xl),
    (
        ("StableDiffusion", "LatentConsistencyModel", "Semantic", "TextToVideoZero", "AnimateDiff", "CycleDiffusion"),
        unet_families.stable_diffusion,
    ),
    (("Flux",), transformer_families.flux),
    (("Chroma",), transformer_families.chroma),
    (("PixArt",), transformer_families.pixart),
    (("AuraFlow",), transformer_families.auraflow),
    (("IF",), unet_families.deep_floyd),
    (("Amused",), unet_families.amused),
    (("LDMPipeline", "LDMSuper"), unet_families.latent_diffusion),
    (("TextToVideoSD", "VideoToVideoSD"), unet_families.text_to_video),
    (("Wan",), transformer_families.wan),
    (("LTXPipeline", "LTXImage", "LTXCondition"), transformer_families.ltx),
    (("DDPM", "DDIM", "PNDM", "RePaint", "KarrasVe", "ScoreSdeVe", "ConsistencyModel"), unet_families.pixels),
)
"""(how a class's name begins, its family's recipe); the first that fits."""


def find_recipe(name: str) -> Recipe | None:
    """The recipe of a class."""
    if name.startswith(("Flux2", "StableDiffusion3")):  # which share no part with the first ones
        return None
    return next((recipe for starts, recipe in RECIPES if name.startswith(starts)), None)
