"""Five models of different kinds, with random weights in published shapes, to measure memory with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.models import cache_dir


def classifier(folder: Path) -> None:
    """BERT of 23M parameters that reads 512 tokens."""
    from tests.builders.sized import text_classifier

    text_classifier(folder, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)


def vit(folder: Path) -> None:
    """ViT-S of 22M parameters, 224 × 224 pixels."""
    from tests.builders.sized import image_classifier

    image_classifier(folder, hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)


def wav2vec2(folder: Path) -> None:
    """Wav2Vec2-base of 95M parameters that tells two kinds of sound apart."""
    from tests.builders.sized import sound_classifier

    sound_classifier(folder)


def gpt2(folder: Path) -> None:
    """GPT-2 of 124M parameters."""
    from tests.builders.families import gpt2_124m

    gpt2_124m(folder)


def diffusion(folder: Path) -> None:
    """A Stable Diffusion of 40M parameters that paints 256 × 256 pixels."""
    import diffusers
    import transformers as library

    from tests.builders import generative

    text = generative.clip_text_config()
    text.update({"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "projection_dim": 256})
    blocks = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    vae = diffusers.AutoencoderKL(
        down_block_types=blocks[0], up_block_types=blocks[1], block_out_channels=(32, 64, 128, 128), latent_channels=4,
        sample_size=256,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(96, 192, 288),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=256,
        attention_head_dim=8,
        norm_num_groups=32,
    )
    parts = {**generative.sd_parts(), "vae": vae, "unet": unet, "text_encoder": library.CLIPTextModel(text)}
    generative.save_pipeline(
        folder,
        diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        ),
    )


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "classifier": ("text-classification", classifier),
    "vit": ("image-classification", vit),
    "wav2vec2": ("audio-classification", wav2vec2),
    "diffusion": ("text-to-image", diffusion),
    "gpt2": ("text-generation", gpt2),
}
"""Name → its task and what builds it."""


def ensure_kind(name: str) -> Path:
    """The model's folder, built when it is not there yet."""
    folder = cache_dir() / "kinds" / name
    if not any(folder.glob("*.json")):
        KINDS[name][1](folder)
    return folder
