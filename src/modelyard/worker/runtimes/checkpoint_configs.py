"""The configs of the parts of Stable Diffusion in one file, which has none: read from the shapes of its tensors, and
where those do not tell, as Stable Diffusion 1, 2 and XL were published. Pure; loads nothing.

Sources: the configs of stable-diffusion-v1-5, stabilityai/stable-diffusion-2-1 and -xl-base-1.0, and the names of
tensors in diffusers' `single_file_utils.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelyard.records.checkpoints import CLIP, OPEN_CLIP, XL_CLIP, XL_OPEN_CLIP, Shape

Shapes = Mapping[str, Shape]
Config = dict[str, Any]

UNET, VAE = "model.diffusion_model.", "first_stage_model."
HEADS_OF_1 = 8
"""Attention heads at every level of Stable Diffusion 1."""
HEAD_WIDTH = 64
"""Of an attention head in later denoisers and in every text encoder of CLIP's."""
LATENT_SCALE, LATENT_SCALE_OF_XL = 0.18215, 0.13025
SIDES = {CLIP: 64, OPEN_CLIP: 96, XL_OPEN_CLIP: 128}
"""A mark of the kind → the latents' side that it was trained on, an eighth of the image's."""
NOISE: Config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SCHEDULES: Mapping[str, Config] = {
    CLIP: {"_class_name": "PNDMScheduler", **NOISE, "skip_prk_steps": True, "set_alpha_to_one": False},
    OPEN_CLIP: {
        "_class_name": "DDIMScheduler",
        **NOISE,
        "set_alpha_to_one": False,
        "clip_sample": False,
        "prediction_type": "v_prediction",
    },
    XL_OPEN_CLIP: {"_class_name": "EulerDiscreteScheduler", **NOISE, "timestep_spacing": "leading"},
}
"""A mark of the kind → its schedule. That of Stable Diffusion 2 is 2.1's, as diffusers has it: 2-base's weights look
the same."""


def find_kind(shapes: Shapes) -> str:
    """The mark of the kind of checkpoint, one of SIDES. Raises KeyError when there is none."""
    return next(mark for mark in SIDES if mark in shapes)


def count(shapes: Shapes, pattern: str) -> int:
    """How many numbers the tensors' names have where `pattern` has its group."""
    found = (re.match(pattern, name) for name in shapes)
    return len({match[1] for match in found if match})


def describe_levels(shapes: Shapes) -> list[list[tuple[int, int]]]:
    """The denoiser's levels, largest first: of each of its layers (channels, how many transformer blocks follow)."""
    levels: list[list[tuple[int, int]]] = [[]]
    for index in range(1, count(shapes, rf"{UNET}input_blocks\.(\d+)\.")):
        at = f"{UNET}input_blocks.{index}"
        if f"{at}.0.op.weight" in shapes:
            levels.append([])
            continue
        depth = count(shapes, rf"{re.escape(at)}\.1\.transformer_blocks\.(\d+)\.")
        levels[-1].append((shapes[f"{at}.0.out_layers.3.weight"][0], depth))
    return levels


def read_unet_config(shapes: Shapes) -> Config:
    """The denoiser's."""
    levels = describe_levels(shapes)
    channels = [level[0][0] for level in levels]
    attentive = [level[0][1] > 0 for level in levels]
    middle = count(shapes, rf"{UNET}middle_block\.1\.transformer_blocks\.(\d+)\.")
    depths = [level[0][1] or (middle if level is levels[-1] else 1) for level in levels]
    projection = next(shape for name, shape in shapes.items() if name.endswith("1.proj_in.weight"))
    linear = len(projection) == 2
    down = ["CrossAttnDownBlock2D" if reads else "DownBlock2D" for reads in attentive]
    up = ["CrossAttnUpBlock2D" if reads else "UpBlock2D" for reads in reversed(attentive)]
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": SIDES[find_kind(shapes)],
        "in_channels": shapes[f"{UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": len(levels[0]),
        "down_block_types": down,
        "up_block_types": up,
        "cross_attention_dim": next(shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")),
        "transformer_layers_per_block": depths,
        "attention_head_dim": [width // HEAD_WIDTH for width in channels] if linear else HEADS_OF_1,
        "use_linear_projection": linear,
        **read_added_config(shapes),
    }


def read_added_config(shapes: Shapes) -> Config:
    """What XL's denoiser is told beside the text: its pooled form, and six numbers about the size."""
    added = shapes.get(f"{UNET}label_emb.0.0.weight")
    if added is None:
        return {}
    pooled = shapes["conditioner.embedders.1.model.text_projection"][1]
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": (added[1] - pooled) // 6,
        "projection_class_embeddings_input_dim": added[1],
    }


def read_vae_config(shapes: Shapes) -> Config:
    """The autoencoder's."""
    levels = count(shapes, rf"{VAE}encoder\.down\.(\d+)\.")
    at = f"{VAE}encoder.down"
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [shapes[f"{at}.{level}.block.0.conv2.weight"][0] for level in range(levels)],
        "layers_per_block": count(shapes, rf"{re.escape(at)}\.0\.block\.(\d+)\."),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "latent_channels": shapes[f"{VAE}post_quant_conv.weight"][0],
        "sample_size": SIDES[find_kind(shapes)] * 8,
        "scaling_factor": LATENT_SCALE_OF_XL if find_kind(shapes) == XL_OPEN_CLIP else LATENT_SCALE,
    }


def read_text_configs(shapes: Shapes) -> dict[str, Config]:
    """Of each text encoder, by its part's name."""
    if XL_CLIP in shapes:
        first = read_clip_config(shapes, XL_CLIP.removesuffix("embeddings.position_embedding.weight"))
        second = read_open_clip_config(shapes, XL_OPEN_CLIP.removesuffix("positional_embedding"))
        return {"text_encoder": first, "text_encoder_2": second}
    if CLIP in shapes:
        return {"text_encoder": read_clip_config(shapes, CLIP.removesuffix("embeddings.position_embedding.weight"))}
    last_but_one = read_open_clip_config(shapes, OPEN_CLIP.removesuffix("positional_embedding"))
    last_but_one["num_hidden_layers"] -= 1  # whose answer is what the denoiser was trained on
    return {"text_encoder": last_but_one}


def read_clip_config(shapes: Shapes, prefix: str) -> Config:
    """Of a text encoder as OpenAI trained it."""
    width = shapes[f"{prefix}embeddings.position_embedding.weight"][1]
    return {
        **size_of_text(shapes[f"{prefix}embeddings.token_embedding.weight"], width),
        "intermediate_size": shapes[f"{prefix}encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": count(shapes, rf"{re.escape(prefix)}encoder\.layers\.(\d+)\."),
        "max_position_embeddings": shapes[f"{prefix}embeddings.position_embedding.weight"][0],
        "hidden_act": "quick_gelu",
        "projection_dim": width,
    }


def read_open_clip_config(shapes: Shapes, prefix: str) -> Config:
    """Of a text encoder as OpenCLIP has it."""
    width = shapes[f"{prefix}positional_embedding"][1]
    return {
        **size_of_text(shapes[f"{prefix}token_embedding.weight"], width),
        "intermediate_size": shapes[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"][0],
        "num_hidden_layers": count(shapes, rf"{re.escape(prefix)}transformer\.resblocks\.(\d+)\."),
        "max_position_embeddings": shapes[f"{prefix}positional_embedding"][0],
        "hidden_act": "gelu",
        "projection_dim": shapes.get(f"{prefix}text_projection", (width, width))[1],
    }


def size_of_text(words: Shape, width: int) -> Config:
    """What both kinds of text encoder say of their size."""
    return {
        "model_type": "clip_text_model",
        "vocab_size": words[0],
        "hidden_size": width,
        "num_attention_heads": width // HEAD_WIDTH,
    }
