"""Tiny parts of the families of pipelines: one function for each family gives all that its classes may ask for, and
each class takes of it what its constructor names."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch

from tests.builders.parts import fill_zeros
from tests.coverage.pipelines import (
    audio_families,
    image_families,
    prior_families,
    transformer_families,
    unet_families,
    video_families,
)
from tests.coverage.pipelines.readers import Whole

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
    chosen = {key: value for key, value in parts.items() if key in taken}
    for part in chosen.values():
        if isinstance(part, torch.nn.Module):
            fill_zeros(part)
    whole = {key: part for key, part in chosen.items() if isinstance(part, Whole)}
    kind(**chosen | dict.fromkeys(whole)).save_pretrained(folder)
    index = json.loads((folder / "model_index.json").read_text())
    for key, part in whole.items():
        part.save(folder / key)
        index[key] = ["transformers", part.kind]
    (folder / "model_index.json").write_text(json.dumps(index))


RECIPES: tuple[tuple[tuple[str, ...], Recipe], ...] = (
    (("StableDiffusion3",), image_families.stable_diffusion_3),
    (("StableDiffusionXL", "TextToVideoZeroSDXL", "AnimateDiffSDXL"), unet_families.stable_diffusion_xl),
    (
        (
            "StableDiffusion",
            "LatentConsistencyModel",
            "Semantic",
            "TextToVideoZero",
            "AnimateDiff",
            "CycleDiffusion",
            "PIA",
            "Marigold",
        ),
        unet_families.stable_diffusion,
    ),
    (("StableVideoDiffusion",), unet_families.stable_video),
    (("StableUnCLIP",), unet_families.stable_unclip),
    (("I2VGenXL",), unet_families.i2vgen),
    (("Kolors",), unet_families.kolors),
    (("LDMTextToImage",), unet_families.latent_diffusion_of_text),
    (("ZImage",), image_families.z_image),
    (("QwenImage",), image_families.qwen_image),
    (("HunyuanDiT",), image_families.hunyuan_dit),
    (("Lumina2",), image_families.lumina_2),
    (("Lumina",), image_families.lumina),
    (("CogView",), image_families.cogview),
    (("BriaPipeline",), image_families.bria),
    (("DiT",), image_families.dit),
    (("HiDreamImage",), image_families.hidream),
    (("Flux2",), transformer_families.flux_2),
    (("Flux",), transformer_families.flux),
    (("OvisImage",), transformer_families.ovis),
    (("Chroma",), transformer_families.chroma),
    (("PixArt",), transformer_families.pixart),
    (("AuraFlow",), transformer_families.auraflow),
    (("IF",), unet_families.deep_floyd),
    (("Amused",), unet_families.amused),
    (("LDMPipeline", "LDMSuper"), unet_families.latent_diffusion),
    (("TextToVideoSD", "VideoToVideoSD"), unet_families.text_to_video),
    (("SkyReelsV2",), video_families.skyreels),
    (("CogVideoX",), video_families.cogvideo),
    (("Mochi",), video_families.mochi),
    (("Latte",), video_families.latte),
    (
        ("HunyuanVideoPipeline", "HunyuanVideoImage", "HunyuanVideoFramepack", "HunyuanSkyreels"),
        video_families.hunyuan_video,
    ),
    (("ChronoEdit",), video_families.chrono_edit),
    (("CosmosText", "CosmosVideo"), video_families.cosmos),
    (("HunyuanVideo15",), video_families.hunyuan_video_15),
    (("SanaVideo", "SanaImageToVideo"), video_families.sana_video),
    (("KandinskyV22",), prior_families.kandinsky_2_2),
    (("Kandinsky5",), video_families.kandinsky_5),
    (("Kandinsky3",), prior_families.kandinsky_3),
    (("StableCascade",), prior_families.stable_cascade),
    (("UnCLIP",), prior_families.unclip),
    (("AudioLDM2",), audio_families.audioldm_2),
    (("AudioLDM", "MusicLDM"), audio_families.audioldm),
    (("StableAudioPipeline",), audio_families.stable_audio),
    (("StableAudio3Pipeline",), audio_families.stable_audio_3),
    (("AceStep",), audio_families.ace_step),
    (("LongCatAudioDiT",), audio_families.longcat_audio),
    (("SanaPipeline", "SanaControl", "SanaPAG", "SanaSprint"), image_families.sana),
    (("Wan", "LucyEdit"), transformer_families.wan),
    (("LTXPipeline", "LTXImage", "LTXCondition", "LTXLatentUpsample"), transformer_families.ltx),
    (("LTX2Pipeline", "LTX2Image", "LTX2Condition", "LTX2LatentUpsample"), video_families.ltx_2),
    (("DDPM", "DDIM", "PNDM", "RePaint", "KarrasVe", "ScoreSdeVe", "ConsistencyModel"), unet_families.pixels),
)
"""(how a class's name begins, its family's recipe); the first that fits."""


def find_recipe(name: str) -> Recipe | None:
    """The recipe of a class."""
    if name.startswith("QwenImage21"):  # which shares no part with the first one
        return None
    return next((recipe for starts, recipe in RECIPES if name.startswith(starts)), None)
