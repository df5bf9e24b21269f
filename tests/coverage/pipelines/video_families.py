"""Families of pipelines that make videos: all the parts that their classes may ask for."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.builders import generative
from tests.builders.films import SIDE
from tests.coverage.pipelines.image_families import flow
from tests.coverage.pipelines.parts import sight, sight_processor
from tests.coverage.pipelines.readers import WIDTH, clip_of_77, decoder, qwen_that_sees, t5
from tests.coverage.pipelines.transformer_families import wan


def skyreels(name: str) -> dict[str, Any]:
    """SkyReels 2: Wan's parts around a denoiser of its own."""
    sees = "V2ImageToVideo" in name
    transformer = diffusers.SkyReelsV2Transformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=36 if sees else 16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
        num_frame_per_block=1,
        image_dim=32 if sees else None,
        added_kv_proj_dim=24 if sees else None,
        pos_embed_seq_len=34 if sees else None,  # what is seen of two images
    )
    own = {"image_encoder": sight(), "image_processor": sight_processor()}
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    return {**wan(name), **own, "transformer": transformer, "scheduler": scheduler}


def sana_video(_name: str) -> dict[str, Any]:
    """Sana for videos."""
    encoder, tokenizer = decoder(transformers.Gemma2Model)
    transformer = diffusers.SanaVideoTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=32,
        sample_size=22,
    )
    return {
        **wan("Wan"),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": transformer,
        "scheduler": flow(),
    }


def cogvideo(name: str) -> dict[str, Any]:
    """CogVideoX."""
    return generative.cogvideo_parts(sees="ImageTo" in name or "Control" in name)


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


def hunyuan_video(name: str) -> dict[str, Any]:
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
            in_channels=8 if "ImageToVideo" in name else 4,
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


def hunyuan_video_15(_name: str) -> dict[str, Any]:
    """HunyuanVideo 1.5: Qwen reads the text, and ByT5 what is to be written in the video."""
    letters = transformers.ByT5Tokenizer()
    encoder = transformers.T5Config(vocab_size=len(letters), d_model=WIDTH, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    seeing, tokenizer, _ = qwen_that_sees()
    return {
        "vae": diffusers.AutoencoderKLHunyuanVideo15(
            latent_channels=4,
            block_out_channels=(16, 16),
            layers_per_block=1,
            spatial_compression_ratio=4,
            temporal_compression_ratio=2,
            downsample_match_channel=False,
            upsample_match_channel=False,
        ),
        "text_encoder": transformers.Qwen2_5_VLTextModel(seeing.config.text_config),
        "tokenizer": tokenizer,
        "text_encoder_2": transformers.T5EncoderModel(encoder),
        "tokenizer_2": letters,
        "transformer": diffusers.HunyuanVideo15Transformer3DModel(
            in_channels=9,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_refiner_layers=1,
            mlp_ratio=2.0,
            text_embed_dim=WIDTH,
            text_embed_2_dim=WIDTH,
            image_embed_dim=WIDTH,
            rope_axes_dim=(2, 2, 4),
            target_size=SIDE,
        ),
        "scheduler": flow(),
        "guider": diffusers.ClassifierFreeGuidance(guidance_scale=2.0),
        "image_encoder": transformers.SiglipVisionModel(
            transformers.SiglipVisionConfig(
                hidden_size=WIDTH,
                intermediate_size=37,
                num_hidden_layers=1,
                num_attention_heads=4,
                image_size=32,
                patch_size=8,
            )
        ),
        "feature_extractor": transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    }
