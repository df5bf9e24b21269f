"""Families of pipelines whose denoiser is a transformer: all the parts that their classes may ask for."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.builders import generative
from tests.coverage.pipelines.parts import flow_vae
from tests.coverage.pipelines.readers import WIDTH, mistral_that_sees, qwen, t5


def flux_channels(name: str) -> int:
    """Channels that Flux reads: packed latents, and those of a control image or of a mask beside them."""
    return 24 if "Fill" in name else 8 if "FluxControl" in name and "ControlNet" not in name else 4


def flux(name: str) -> dict[str, Any]:
    """Flux 1."""
    encoder, tokenizer = t5()
    shape: dict[str, Any] = {
        "patch_size": 1,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "axes_dims_rope": (4, 4, 8),
    }
    return {
        "vae": flow_vae(1, 5 if "Kontext" in name else 2),  # which makes a million pixels of any image
        "text_encoder": transformers.CLIPTextModel(generative.clip_text_config()),
        "text_encoder_2": encoder,
        "tokenizer": generative.clip_tokenizer(),
        "tokenizer_2": tokenizer,
        "transformer": diffusers.FluxTransformer2DModel(in_channels=flux_channels(name), out_channels=4, **shape),
        "controlnet": diffusers.FluxControlNetModel(in_channels=4, **shape),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
    }


def flux_2(name: str) -> dict[str, Any]:
    """Flux 2, whose text Mistral reads, and Flux 2 Klein, whose text Qwen reads: three of its layers are taken."""
    klein = "Klein" in name
    encoder, tokenizer = qwen(transformers.Qwen3ForCausalLM, 27) if klein else mistral_that_sees(30)
    return {
        "vae": diffusers.AutoencoderKLFlux2(
            block_out_channels=(8,) * 2,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=1,
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": diffusers.Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * WIDTH,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=not klein,
        ),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
    }


def ovis(_name: str) -> dict[str, Any]:
    """Ovis-Image."""
    encoder, tokenizer = qwen(transformers.Qwen3Model)
    return {
        "vae": flow_vae(1),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": diffusers.OvisImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 4, 8),
        ),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
    }


def chroma(_name: str) -> dict[str, Any]:
    """Chroma."""
    encoder, tokenizer = t5()
    transformer = diffusers.ChromaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    parts = {"vae": flow_vae(1), "text_encoder": encoder, "tokenizer": tokenizer}
    return {**parts, "transformer": transformer, "scheduler": scheduler}


def pixart(_name: str) -> dict[str, Any]:
    """PixArt."""
    encoder, tokenizer = t5()
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=32,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        num_embeds_ada_norm=1000,
        use_additional_conditions=False,
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    )
    parts = {"vae": generative.vae(), "text_encoder": encoder, "tokenizer": tokenizer}
    return {**parts, "transformer": transformer, "scheduler": diffusers.DDIMScheduler()}


def auraflow(_name: str) -> dict[str, Any]:
    """AuraFlow."""
    encoder, tokenizer = t5()
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        out_channels=4,
        pos_embed_max_size=256,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    parts = {"vae": generative.vae(), "text_encoder": encoder, "tokenizer": tokenizer}
    return {**parts, "transformer": transformer, "scheduler": scheduler}


def wan(name: str) -> dict[str, Any]:
    """Wan."""
    encoder, tokenizer = t5()
    channels = 36 if "ImageToVideo" in name else 32 if "Lucy" in name else 16
    kind, own = diffusers.WanTransformer3DModel, {}
    if "VACE" in name:
        kind, own = diffusers.WanVACETransformer3DModel, {"vace_layers": [0]}
    return {
        "vae": diffusers.AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        "transformer": kind(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            **own,
            in_channels=channels,
            out_channels=16,
            text_dim=32,
            freq_dim=256,
            ffn_dim=32,
            num_layers=2,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
        ),
        "transformer_2": None,
        "image_processor": None,
    }


def ltx(_name: str) -> dict[str, Any]:
    """LTX-Video, and what makes its videos larger."""
    from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

    encoder, tokenizer = t5()
    return {
        "latent_upsampler": LTXLatentUpsamplerModel(in_channels=8, mid_channels=32, num_blocks_per_stage=1),
        "vae": diffusers.AutoencoderKLLTXVideo(
            in_channels=3,
            out_channels=3,
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, False, False),
            decoder_spatio_temporal_scaling=(True, True, False, False),
            patch_size=1,
            patch_size_t=1,
            encoder_causal=True,
            decoder_causal=False,
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "transformer": diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            patch_size=1,
            patch_size_t=1,
            num_attention_heads=4,
            attention_head_dim=8,
            cross_attention_dim=32,
            num_layers=1,
            caption_channels=32,
        ),
    }
