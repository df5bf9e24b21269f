"""Families of pipelines that make videos: all the parts that their classes may ask for."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.builders import generative
from tests.coverage.pipelines.image_families import flow
from tests.coverage.pipelines.readers import clip_of_77, decoder, t5
from tests.coverage.pipelines.transformer_families import wan


def skyreels(name: str) -> dict[str, Any]:
    """SkyReels 2: Wan's parts around a denoiser of its own."""
    transformer = diffusers.SkyReelsV2Transformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
        num_frame_per_block=1,
    )
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    return {**wan(name), "transformer": transformer, "scheduler": scheduler}


def cogvideo(name: str) -> dict[str, Any]:
    """CogVideoX."""
    encoder, tokenizer = t5()
    sees = "ImageTo" in name or "Control" in name
    return {
        "vae": diffusers.AutoencoderKLCogVideoX(
            block_out_channels=(8,) * 4,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
            sample_height=32,
            sample_width=32,
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=8 if sees else 4,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=32,
            num_layers=1,
            sample_width=4,
            sample_height=4,
            sample_frames=5,
        ),
        "scheduler": diffusers.CogVideoXDDIMScheduler(),
    }


def mochi(_name: str) -> dict[str, Any]:
    """Mochi."""
    encoder, tokenizer = t5()
    return {
        "vae": diffusers.AutoencoderKLMochi(
            encoder_block_out_channels=(32,) * 4,
            decoder_block_out_channels=(32,) * 4,
            layers_per_block=(1,) * 5,
            latent_channels=12,
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": diffusers.MochiTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            pooled_projection_dim=16,
            in_channels=12,
            text_embed_dim=32,
            time_embed_dim=4,
        ),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    }


def latte(_name: str) -> dict[str, Any]:
    """Latte."""
    encoder, tokenizer = t5()
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=16,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        video_length=5,
    )
    parts = {"vae": generative.vae(), "text_encoder": encoder, "tokenizer": tokenizer}
    return {**parts, "transformer": transformer, "scheduler": diffusers.DDIMScheduler()}


def hunyuan_video(_name: str) -> dict[str, Any]:
    """HunyuanVideo."""
    encoder, tokenizer = decoder(transformers.LlamaModel)
    return {
        "vae": diffusers.AutoencoderKLHunyuanVideo(
            latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "text_encoder_2": clip_of_77(),
        "tokenizer_2": generative.clip_tokenizer(),
        "transformer": diffusers.HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=1,
            text_embed_dim=32,
            pooled_projection_dim=32,
            rope_axes_dim=(2, 4, 4),
        ),
        "scheduler": flow(),
    }
