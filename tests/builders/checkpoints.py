"""Stable Diffusion as it was trained: one file with the tensors of all parts under their first names, and what makes it
of a pipeline's parts.

Not called from a shell. The names are those that diffusers' `single_file_utils.py` reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers as library
from safetensors.torch import save_file

from tests.builders import generative

Tensors = dict[str, torch.Tensor]
RESNET = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "norm2.": "out_layers.0.", "conv2.": "out_layers.3.",
    "time_emb_proj.": "emb_layers.1.", "conv_shortcut.": "skip_connection.",
}  # fmt: skip
OUTSIDE = {
    "conv_in.": "input_blocks.0.0.", "time_embedding.linear_1.": "time_embed.0.", "conv_norm_out.": "out.0.",
    "time_embedding.linear_2.": "time_embed.2.", "conv_out.": "out.2.", "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
}  # fmt: skip
ATTENTION = {"to_q.": "q.", "to_k.": "k.", "to_v.": "v.", "to_out.0.": "proj_out.", "group_norm.": "norm."}
OPEN_CLIP = {
    "layer_norm1.": "ln_1.", "layer_norm2.": "ln_2.", "mlp.fc1.": "mlp.c_fc.", "mlp.fc2.": "mlp.c_proj.",
    "self_attn.out_proj.": "attn.out_proj.",
}  # fmt: skip


def replaced(name: str, names: Mapping[str, str]) -> str:
    """`name` with the first of `names` that it has said otherwise."""
    return next((name.replace(old, new) for old, new in names.items() if old in name), name)


def unet_name(name: str, layers: int, config: Mapping[str, Any]) -> str:
    """What a denoiser's tensor was first called."""
    if match := re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", name):
        side, level, part, layer, rest = match.groups()
        per_level, first = (layers + 1, 1) if side == "down" else (layers + 1, 0)
        index = int(level) * per_level + int(layer) + first
        rest = replaced(rest, RESNET) if part == "resnets" else rest
        return f"{'in' if side == 'down' else 'out'}put_blocks.{index}.{0 if part == 'resnets' else 1}.{rest}"
    if match := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", name):
        return f"input_blocks.{(int(match[1]) + 1) * (layers + 1)}.0.op.{match[2]}"
    if match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.(.*)", name):
        after = 2 if config["up_block_types"][int(match[1])].startswith("CrossAttn") else 1
        return f"output_blocks.{int(match[1]) * (layers + 1) + layers}.{after}.{match[2]}"
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        if match[1] == "attentions":
            return f"middle_block.1.{match[3]}"
        return f"middle_block.{2 * int(match[2])}.{replaced(match[3], RESNET)}"
    return next((new + name.removeprefix(old) for old, new in OUTSIDE.items() if name.startswith(old)), name)


def vae_name(name: str, levels: int) -> str:
    """What an autoencoder's tensor was first called."""
    name = name.replace("conv_norm_out.", "norm_out.").replace("conv_shortcut.", "nin_shortcut.")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    if "mid_block.attentions.0." in name:
        return replaced(name.replace("mid_block.attentions.0.", "mid.attn_1."), ATTENTION)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda match: f"up.{levels - 1 - int(match[1])}.block.", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda match: f"up.{levels - 1 - int(match[1])}.upsample.", name)


def unet_tensors(unet: Any) -> Tensors:
    """Of a denoiser."""
    layers = int(unet.config["layers_per_block"])
    named = {unet_name(name, layers, unet.config): tensor for name, tensor in unet.state_dict().items()}
    return {f"model.diffusion_model.{name}": tensor for name, tensor in named.items()}


def vae_tensors(vae: Any) -> Tensors:
    """Of an autoencoder, whose attention was made of convolutions."""
    levels = len(vae.config["block_out_channels"])
    found = {f"first_stage_model.{vae_name(name, levels)}": tensor for name, tensor in vae.state_dict().items()}
    return {
        name: tensor[..., None, None] if ".attn_1." in name and tensor.dim() == 2 else tensor
        for name, tensor in found.items()
    }


def clip_tensors(encoder: Any, prefix: str) -> Tensors:
    """Of a text encoder as OpenAI trained it."""
    names = encoder.state_dict().items()
    return {f"{prefix}transformer.text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in names}


def open_clip_tensors(encoder: Any, prefix: str) -> Tensors:
    """Of a text encoder as OpenCLIP has it: queries, keys and values in one."""
    state = {name.removeprefix("text_model."): tensor for name, tensor in encoder.state_dict().items()}
    found = {
        "token_embedding.weight": state.pop("embeddings.token_embedding.weight"),
        "positional_embedding": state.pop("embeddings.position_embedding.weight"),
        "ln_final.weight": state.pop("final_layer_norm.weight"),
        "ln_final.bias": state.pop("final_layer_norm.bias"),
    }
    if "text_projection.weight" in state:
        found["text_projection"] = state.pop("text_projection.weight").T.contiguous()
    layers = 1 + max(int(name.split(".")[2]) for name in state)
    for layer in range(layers):
        for end in ("weight", "bias"):
            parts = [state.pop(f"encoder.layers.{layer}.self_attn.{part}_proj.{end}") for part in "qkv"]
            found[f"transformer.resblocks.{layer}.attn.in_proj_{end}"] = torch.cat(parts)
    for name, tensor in state.items():
        found[replaced(name.replace("encoder.layers", "transformer.resblocks"), OPEN_CLIP)] = tensor
    return {prefix + name: tensor for name, tensor in found.items()}


def text_tensors(parts: Mapping[str, Any]) -> Tensors:
    """Of the text encoders of a pipeline with these parts."""
    if "text_encoder_2" in parts:
        first = clip_tensors(parts["text_encoder"], "conditioner.embedders.0.")
        return first | open_clip_tensors(parts["text_encoder_2"], "conditioner.embedders.1.model.")
    return clip_tensors(parts["text_encoder"], "cond_stage_model.")


def checkpoint_tensors(parts: Mapping[str, Any]) -> Tensors:
    """All of a checkpoint, with a pipeline's parts."""
    return unet_tensors(parts["unet"]) | vae_tensors(parts["vae"]) | text_tensors(parts)


def save_checkpoint(folder: Path, parts: Mapping[str, Any]) -> None:
    """Writes a folder as people have it who keep checkpoints: the file, and CLIP's vocabulary beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint_tensors(parts).items()}
    save_file(tensors, folder / "tiny-pruned-emaonly.safetensors")
    parts["tokenizer"].save_pretrained(folder / "tokenizer")


def parts_of_1(channels: int = 4) -> dict[str, Any]:
    """Of a tiny Stable Diffusion 1 whose proportions are the published ones': 8 heads a level, groups of 32."""
    text = library.CLIPTextConfig(**text_config(), hidden_act="quick_gelu")
    return {
        "vae": diffusers.AutoencoderKL(**VAE, scaling_factor=0.18215),
        "text_encoder": library.CLIPTextModel(text),
        "tokenizer": generative.clip_tokenizer(),
        "unet": diffusers.UNet2DConditionModel(
            sample_size=64,
            in_channels=channels,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=64,
            attention_head_dim=8,
        ),
        "scheduler": diffusers.PNDMScheduler(**NOISE, skip_prk_steps=True),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def parts_of_xl() -> dict[str, Any]:
    """Of a tiny Stable Diffusion XL."""
    first = library.CLIPTextConfig(**text_config(), hidden_act="quick_gelu")
    second = library.CLIPTextConfig(
        **{**text_config(), "hidden_size": 128, "projection_dim": 128, "num_attention_heads": 2}, hidden_act="gelu"
    )
    tokenizer = generative.clip_tokenizer()
    other = generative.clip_tokenizer()
    other.pad_token = "!"
    return {
        "vae": diffusers.AutoencoderKL(**VAE, scaling_factor=0.13025),
        "text_encoder": library.CLIPTextModel(first),
        "text_encoder_2": library.CLIPTextModelWithProjection(second),
        "tokenizer": tokenizer,
        "tokenizer_2": other,
        "unet": diffusers.UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(64, 128),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=192,
            attention_head_dim=(1, 2),
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=176,
        ),
        "scheduler": diffusers.EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"),
        "add_watermarker": False,
    }


NOISE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "latent_channels": 4,
}


def text_config() -> dict[str, Any]:
    """Of a text encoder with one head, 64 wide."""
    return {
        "vocab_size": 420,
        "hidden_size": 64,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "max_position_embeddings": 16,
        "projection_dim": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
