"""Families of pipelines that make videos: all the parts that their classes may ask for."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.builders import generative
from tests.builders.films import SIDE
from tests.coverage.pipelines.image_families import flow
from tests.coverage.pipelines.parts import eighth_vae, sight, sight_processor
from tests.coverage.pipelines.readers import WIDTH, clip_of_77, decoder, gemma_that_sees, llava, qwen_that_sees, t5
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


def chrono_edit(_name: str) -> dict[str, Any]:
    """ChronoEdit: Wan's parts around a denoiser that changes an image as if time went by."""
    transformer = diffusers.ChronoEditTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=36,
        out_channels=16,
        text_dim=32,
        ffn_dim=32,
        num_layers=2,
        image_dim=32,
        added_kv_proj_dim=24,
        rope_max_seq_len=32,
    )
    own = {"image_encoder": sight(), "image_processor": sight_processor()}
    return {**wan("Wan"), **own, "transformer": transformer}


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


def hunyuan_vae() -> Any:
    """The autoencoder of HunyuanVideo: an eighth of each side, and a quarter of the frames."""
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4
    )


def siglip() -> dict[str, Any]:
    """What sees the image that a video begins with."""
    config = transformers.SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    return {
        "image_encoder": transformers.SiglipVisionModel(config),
        "feature_extractor": transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    }


def hunyuan_video(name: str) -> dict[str, Any]:
    """HunyuanVideo. Where it is given an image, Llava sees that too, and the first frame is kept as it is; FramePack
    makes the frames piece by piece."""
    sees, packed = "VideoImageTo" in name, "Framepack" in name
    encoder, tokenizer, images = llava() if sees else (*decoder(transformers.LlamaModel), None)
    kind: Any = diffusers.HunyuanVideoTransformer3DModel
    own: dict[str, Any] = {"image_condition_type": "token_replace" if sees else None}
    if packed:
        kind = diffusers.HunyuanVideoFramepackTransformer3DModel
        own = {"has_image_proj": True, "image_proj_dim": WIDTH, "has_clean_x_embedder": True}
    return {
        **(siglip() if packed else {}),
        "vae": hunyuan_vae(),
        "image_processor": images,
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "text_encoder_2": clip_of_77(),
        "tokenizer_2": generative.clip_tokenizer(),
        "transformer": kind(
            **own,
            in_channels=8 if "Skyreels" in name else 4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=2 if packed else 1,
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
        **siglip(),
    }


def kandinsky_5(name: str) -> dict[str, Any]:
    """Kandinsky 5, of images and of videos."""
    encoder, _, processor = qwen_that_sees()
    return {
        "vae": eighth_vae() if "2I" in name else hunyuan_vae(),
        "text_encoder": encoder,
        "tokenizer": processor,
        "text_encoder_2": clip_of_77(),
        "tokenizer_2": generative.clip_tokenizer(),
        "transformer": diffusers.Kandinsky5Transformer3DModel(
            in_visual_dim=4,
            out_visual_dim=4,
            in_text_dim=WIDTH,
            in_text_dim2=WIDTH,
            time_dim=16,
            model_dim=WIDTH,
            ff_dim=37,
            num_text_blocks=1,
            num_visual_blocks=1,
            axes_dims=(4, 6, 6),
            visual_cond="T2I" not in name,
        ),
        "scheduler": flow(),
    }


def ltx_2(_name: str) -> dict[str, Any]:
    """LTX 2, which makes a video and its sound together."""
    from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel, LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    encoder, tokenizer = gemma_that_sees()
    bins = 8
    rope: dict[str, Any] = {"rope_type": "split", "rope_double_precision": False}
    return {
        "latent_upsampler": LTX2LatentUpsamplerModel(in_channels=4, mid_channels=32, num_blocks_per_stage=1),
        "vae": diffusers.AutoencoderKLLTX2Video(
            latent_channels=4,
            block_out_channels=(8,),
            decoder_block_out_channels=(8,),
            layers_per_block=(1,),
            decoder_layers_per_block=(1, 1),
            spatio_temporal_scaling=(True,),
            decoder_spatio_temporal_scaling=(True,),
            decoder_inject_noise=(False, False),
            downsample_type=("spatial",),
            upsample_residual=(False,),
            upsample_factor=(1,),
            patch_size=1,
            decoder_causal=False,
        ),
        "audio_vae": diffusers.AutoencoderKLLTX2Audio(
            base_channels=4, ch_mult=(1,), num_res_blocks=1, resolution=32, latent_channels=2, mel_bins=bins
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "connectors": LTX2TextConnectors(
            caption_channels=WIDTH,
            text_proj_in_factor=3,  # what is read before the first layer, and after each
            video_connector_num_attention_heads=4,
            video_connector_attention_head_dim=8,
            video_connector_num_layers=1,
            video_connector_num_learnable_registers=None,
            audio_connector_num_attention_heads=4,
            audio_connector_attention_head_dim=8,
            audio_connector_num_layers=1,
            audio_connector_num_learnable_registers=None,
            **rope,
        ),
        "transformer": diffusers.LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=1,
            caption_channels=WIDTH,
            **rope,
        ),
        "vocoder": LTX2Vocoder(
            in_channels=2 * bins,
            hidden_channels=16,
            upsample_kernel_sizes=[4, 4],
            upsample_factors=[2, 2],
            resnet_kernel_sizes=[3],
            resnet_dilations=[[1, 3, 5]],
            output_sampling_rate=16000,
        ),
        "scheduler": flow(),
    }


def cosmos(name: str) -> dict[str, Any]:
    """Cosmos 1. Its classes are made with the library cosmos_guardrail only, which looks through texts and videos."""
    encoder, tokenizer = t5()
    return {
        "vae": diffusers.AutoencoderKLCosmos(
            latent_channels=4,
            encoder_block_out_channels=(8,) * 4,
            decode_block_out_channels=(8,) * 4,
            attention_resolutions=(8,),
            resolution=64,
            num_layers=1,
            latents_mean=None,
            latents_std=None,
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": diffusers.CosmosTransformer3DModel(
            in_channels=5 if "VideoToWorld" in name else 4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=1,
            mlp_ratio=2.0,
            text_embed_dim=WIDTH,
            adaln_lora_dim=4,
            max_size=(4, 32, 32),
        ),
        "scheduler": diffusers.EDMEulerScheduler(sigma_max=80.0),
    }
