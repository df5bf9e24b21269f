"""Families of pipelines that make images with a transformer and a flow: all the parts that their classes may take."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.builders import generative
from tests.coverage.pipelines.parts import deep_vae, eighth_vae, flow_vae, latents_of_three_axes
from tests.coverage.pipelines.readers import bert, clip, decoder, qwen, qwen_that_sees, t5


def flow() -> Any:
    """The schedule of a flow."""
    return diffusers.FlowMatchEulerDiscreteScheduler()


def stable_diffusion_3(name: str) -> dict[str, Any]:
    """Stable Diffusion 3."""
    encoder, tokenizer = t5()
    shape: dict[str, Any] = {
        "sample_size": 16,
        "patch_size": 2,
        "in_channels": 16,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "joint_attention_dim": 32,
        "caption_projection_dim": 32,
        "pooled_projection_dim": 64,
        "out_channels": 16,
    }
    return {
        "vae": flow_vae(16),
        "text_encoder": clip(),
        "text_encoder_2": clip(),
        "text_encoder_3": encoder,
        "tokenizer": generative.clip_tokenizer(),
        "tokenizer_2": generative.clip_tokenizer(),
        "tokenizer_3": tokenizer,
        "transformer": diffusers.SD3Transformer2DModel(**shape),
        "controlnet": diffusers.SD3ControlNetModel(
            **{**shape, "num_layers": 1}, extra_conditioning_channels=1 if "Inpaint" in name else 0
        ),
        "scheduler": flow(),
    }


def z_image(name: str) -> dict[str, Any]:
    """Z-Image."""
    encoder, tokenizer = qwen(transformers.Qwen3Model)
    shape: dict[str, Any] = {"dim": 32, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}
    return {
        "vae": flow_vae(4),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": diffusers.ZImageTransformer2DModel(
            **shape, in_channels=4, n_layers=2, cap_feat_dim=32, axes_dims=[8, 4, 4], axes_lens=[256, 32, 32]
        ),
        "controlnet": diffusers.ZImageControlNetModel(
            **shape,
            control_layers_places=[0],
            control_refiner_layers_places=[0],
            control_in_dim=9 if "Inpaint" in name else 4,
        ),
        "scheduler": flow(),
    }


def qwen_image(name: str) -> dict[str, Any]:
    """Qwen-Image."""
    encoder, tokenizer, processor = qwen_that_sees()
    shape: dict[str, Any] = {
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "axes_dims_rope": (8, 4, 4),
    }
    return {
        "vae": latents_of_three_axes(diffusers.AutoencoderKLQwenImage, 4),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "processor": processor,
        "transformer": diffusers.QwenImageTransformer2DModel(**shape),
        "controlnet": diffusers.QwenImageControlNetModel(
            **{**shape, "num_layers": 1}, extra_condition_channels=4 if "Inpaint" in name else 0
        ),
        "scheduler": flow(),
    }


def sana(name: str) -> dict[str, Any]:
    """Sana."""
    encoder, tokenizer = decoder(transformers.Gemma2Model)
    sprint = "Sprint" in name
    shape: dict[str, Any] = {
        "patch_size": 1,
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_cross_attention_heads": 2,
        "cross_attention_head_dim": 16,
        "cross_attention_dim": 32,
        "caption_channels": 32,
        "sample_size": 32 if sprint else 16,
    }
    transformer = diffusers.SanaTransformer2DModel(
        **shape, num_layers=2, guidance_embeds=sprint, qk_norm="rms_norm_across_heads" if sprint else None
    )
    return {
        "vae": deep_vae(4),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": transformer,
        "controlnet": diffusers.SanaControlNetModel(**shape, num_layers=1),
        "scheduler": diffusers.SCMScheduler() if sprint else flow(),
    }


def hunyuan_dit(_name: str) -> dict[str, Any]:
    """HunyuanDiT."""
    first, its_tokenizer = bert()
    second, other_tokenizer = t5()
    shape: dict[str, Any] = {
        "sample_size": 16,
        "patch_size": 2,
        "in_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "hidden_size": 32,
        "cross_attention_dim": 32,
        "cross_attention_dim_t5": 32,
        "pooled_projection_dim": 16,
        "activation_fn": "gelu-approximate",
    }
    return {
        "vae": eighth_vae(),
        "text_encoder": first,
        "tokenizer": its_tokenizer,
        "text_encoder_2": second,
        "tokenizer_2": other_tokenizer,
        "transformer": diffusers.HunyuanDiT2DModel(**shape, num_layers=4),
        "controlnet": diffusers.HunyuanDiT2DControlNetModel(**shape, transformer_num_layers=4),
        "scheduler": diffusers.DDPMScheduler(),
        "pag_applied_layers": ["blocks.1"],
    }


def lumina(_name: str) -> dict[str, Any]:
    """Lumina."""
    encoder, tokenizer = decoder(transformers.GemmaModel)
    transformer = diffusers.LuminaNextDiT2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        hidden_size=32,
        num_layers=2,
        num_attention_heads=4,
        num_kv_heads=2,
        multiple_of=16,
        ffn_dim_multiplier=1.0,
        cross_attention_dim=32,
    )
    parts = {"vae": generative.vae(), "text_encoder": encoder, "tokenizer": tokenizer}
    return {**parts, "transformer": transformer, "scheduler": flow()}


def lumina_2(_name: str) -> dict[str, Any]:
    """Lumina 2."""
    encoder, tokenizer = decoder(transformers.Gemma2Model)
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        hidden_size=32,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(8, 4, 4),
        axes_lens=(300, 32, 32),
        cap_feat_dim=32,
    )
    parts = {"vae": flow_vae(4), "text_encoder": encoder, "tokenizer": tokenizer}
    return {**parts, "transformer": transformer, "scheduler": flow()}


def cogview(name: str) -> dict[str, Any]:
    """CogView 3 and 4."""
    shape: dict[str, Any] = {
        "patch_size": 2,
        "in_channels": 8 if "Control" in name else 4,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "out_channels": 4,
        "text_embed_dim": 32,
        "time_embed_dim": 8,
        "condition_dim": 2,
        "pos_embed_max_size": 16,
        "sample_size": 16,
    }
    if "View3" in name:
        encoder, tokenizer = t5()
        transformer: Any = diffusers.CogView3PlusTransformer2DModel(**shape)
    else:
        encoder, tokenizer = decoder(transformers.GlmModel)
        transformer = diffusers.CogView4Transformer2DModel(**shape, rope_axes_dim=(16, 16))
    return {
        "vae": generative.vae(),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": transformer,
        "scheduler": diffusers.CogVideoXDDIMScheduler() if "View3" in name else flow(),
    }


def bria(_name: str) -> dict[str, Any]:
    """Bria."""
    encoder, tokenizer = t5()
    transformer = diffusers.BriaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=[0, 4, 4],
    )
    parts = {"vae": flow_vae(4), "text_encoder": encoder, "tokenizer": tokenizer}
    return {**parts, "transformer": transformer, "scheduler": flow()}


def hidream(_name: str) -> dict[str, Any]:
    """HiDream: four readers, and a denoiser of several experts."""
    third, its_tokenizer = t5()
    fourth, other_tokenizer = decoder(transformers.LlamaForCausalLM)
    return {
        "vae": flow_vae(4),
        "text_encoder": clip(max_position_embeddings=128),
        "text_encoder_2": clip(max_position_embeddings=128),
        "text_encoder_3": third,
        "text_encoder_4": fourth,
        "tokenizer": generative.clip_tokenizer(),
        "tokenizer_2": generative.clip_tokenizer(),
        "tokenizer_3": its_tokenizer,
        "tokenizer_4": other_tokenizer,
        "transformer": diffusers.HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=[32, 32],
            text_emb_dim=64,
            num_routed_experts=4,
            num_activated_experts=2,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(64, 64),  # it makes as many pixels as it was trained for, whatever is asked for
            llama_layers=[0, 1],
        ),
        "scheduler": flow(),
    }


def dit(_name: str) -> dict[str, Any]:
    """DiT: an image of a class."""
    transformer = diffusers.DiTTransformer2DModel(
        sample_size=16,
        num_layers=1,
        patch_size=4,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        norm_num_groups=1,
        num_embeds_ada_norm=1000,
    )
    return {
        "vae": generative.vae(),
        "transformer": transformer,
        "scheduler": diffusers.DDIMScheduler(),
        "id2label": {"0": "fox", "1": "river"},
    }
