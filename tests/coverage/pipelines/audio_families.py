"""Families of pipelines that make sound: all the parts that their classes may ask for."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers
from diffusers.pipelines.ace_step import AceStepConditionEncoder

from tests.builders import generative
from tests.coverage.pipelines.parts import schedule
from tests.coverage.pipelines.readers import qwen, roberta_tokenizer, t5, t5_gemma


def spectrogram_vae() -> Any:
    """An autoencoder of spectrograms."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=8,
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )


def clap_text_config(size: int) -> dict[str, Any]:
    """CLAP's text encoder, 8 wide."""
    return {
        "vocab_size": size,
        "hidden_size": 8,
        "intermediate_size": 37,
        "num_attention_heads": 1,
        "num_hidden_layers": 1,
        "projection_dim": 8,
        "max_position_embeddings": 32,
    }


def clap(size: int) -> Any:
    """CLAP, which reads texts and hears sounds."""
    config = transformers.ClapConfig(
        text_config=clap_text_config(size),
        audio_config={
            "spec_size": 8,
            "window_size": 4,
            "num_mel_bins": 8,
            "patch_size": 2,
            "patch_stride": [2, 2],
            "patch_embeds_hidden_size": 4,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_classes": 2,
        },
        projection_dim=8,
    )
    return transformers.ClapModel(config)


def audioldm(name: str) -> dict[str, Any]:
    """AudioLDM, and MusicLDM, which is built like it."""
    tokenizer = roberta_tokenizer()
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(8, 16),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=8,
        class_embeddings_concat=True,
    )
    reader = transformers.ClapTextModelWithProjection(transformers.ClapTextConfig(**clap_text_config(len(tokenizer))))
    return {
        "vae": spectrogram_vae(),
        "text_encoder": clap(len(tokenizer)) if "Music" in name else reader,
        "tokenizer": tokenizer,
        "unet": unet,
        "scheduler": schedule(),
        "vocoder": generative.vocoder(8),
        "feature_extractor": transformers.ClapFeatureExtractor(feature_size=8),
    }


def audioldm_2(_name: str) -> dict[str, Any]:
    """AudioLDM 2: two text encoders, and a language model that says what sounds belong to them."""
    tokenizer = roberta_tokenizer()
    encoder, second = t5()
    language = transformers.GPT2Config(
        n_embd=16, n_head=2, n_layer=1, n_positions=64, vocab_size=100, n_ctx=64, bos_token_id=0, eos_token_id=0
    )
    language.max_new_tokens = 8
    unet = diffusers.AudioLDM2UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=((None, 16, 32), (None, 16, 32)),
        attention_head_dim=4,
    )
    return {
        "vae": spectrogram_vae(),
        "text_encoder": clap(len(tokenizer)),
        "tokenizer": tokenizer,
        "text_encoder_2": encoder,
        "tokenizer_2": second,
        "language_model": transformers.GPT2LMHeadModel(language),
        "projection_model": diffusers.AudioLDM2ProjectionModel(
            text_encoder_dim=8, text_encoder_1_dim=32, langauge_model_dim=16
        ),
        "unet": unet,
        "scheduler": schedule(),
        "vocoder": generative.vocoder(8),
        "feature_extractor": transformers.ClapFeatureExtractor(feature_size=8),
    }


def oobleck(channels: int, sounds: int = 2) -> Any:
    """An autoencoder of waveforms: a sixteenth of their samples, 800 a second."""
    return diffusers.AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=[4, 4],
        channel_multiples=[1, 2],
        decoder_channels=8,
        decoder_input_channels=channels,
        audio_channels=sounds,
        sampling_rate=800,
    )


def stable_audio(_name: str) -> dict[str, Any]:
    """Stable Audio."""
    encoder, tokenizer = t5()
    return {
        "vae": oobleck(8),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "projection_model": diffusers.StableAudioProjectionModel(
            text_encoder_dim=32, conditioning_dim=16, min_value=0, max_value=32
        ),
        "transformer": diffusers.StableAudioDiTModel(
            sample_size=64,
            in_channels=8,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_attention_heads=2,
            out_channels=8,
            cross_attention_dim=16,
            time_proj_dim=8,
            global_states_input_dim=32,
            cross_attention_input_dim=16,
        ),
        "scheduler": diffusers.EDMDPMSolverMultistepScheduler(
            solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
        ),
    }


def stable_audio_3(_name: str) -> dict[str, Any]:
    """Stable Audio 3."""
    encoder, tokenizer = t5_gemma()
    return {
        "vae": diffusers.AutoencoderSAME(
            patch_size=4,
            encoder_channels=16,
            encoder_c_mults=[1],
            encoder_strides=[4],
            encoder_transformer_depths=[1],
            latent_dim=8,
            dim_heads=8,
            sampling_rate=800,
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "duration_embedder": diffusers.StableAudio3DurationEmbedder(output_dim=32, fourier_dim=8),
        "transformer": diffusers.StableAudio3DiTModel(
            io_channels=8,
            embed_dim=16,
            depth=1,
            num_heads=2,
            cond_token_dim=32,
            global_cond_dim=32,
            local_add_cond_dim=9,
            timestep_features_dim=8,
            num_memory_tokens=2,
        ),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
    }


def ace_step(_name: str) -> dict[str, Any]:
    """ACE-Step, which sings."""
    encoder, tokenizer = qwen(transformers.Qwen3Model)
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    return {
        "vae": oobleck(8),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": diffusers.AceStepTransformer1DModel(
            **small, num_hidden_layers=2, in_channels=24, audio_acoustic_hidden_dim=8
        ),
        "condition_encoder": AceStepConditionEncoder(
            **small,
            text_hidden_dim=32,
            timbre_hidden_dim=8,
            num_lyric_encoder_hidden_layers=1,
            num_timbre_encoder_hidden_layers=1,
        ),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1),
    }


def longcat_audio(_name: str) -> dict[str, Any]:
    """LongCat's sounds."""
    encoder, tokenizer = t5(transformers.UMT5EncoderModel)
    return {
        "vae": diffusers.LongCatAudioDiTVae(
            channels=8,
            c_mults=[1, 2],
            strides=[2, 4],
            latent_dim=8,
            encoder_latent_dim=16,
            downsampling_ratio=8,
            sample_rate=800,
        ),
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "transformer": diffusers.LongCatAudioDiTTransformer(
            dit_dim=16, dit_depth=1, dit_heads=2, dit_text_dim=32, latent_dim=8
        ),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0, invert_sigmas=True),
    }
