"""Families that make media: diffusion pipelines, and models that turn text into sound.

Not called from a shell: `tests.builders.registry` reaches them through `FAMILIES`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers as library

from tests.builders import tokenizers
from tests.builders.families import save, spread

UNET = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
"""The size that all denoisers here share: two levels."""


def clip_tokenizer() -> library.CLIPTokenizer:
    """CLIP's kind: lower case, word ends marked; texts of at most 16 tokens."""
    trained = tokenizers.byte_level(["<|startoftext|>", "<|endoftext|>"])
    state = json.loads(trained.backend_tokenizer.to_str())["model"]
    return library.CLIPTokenizer(
        vocab=state["vocab"],
        merges=[tuple(merge) for merge in state["merges"]],
        model_max_length=16,
    )


def clip_text_config(**more: Any) -> library.CLIPTextConfig:
    """A text encoder of 2 layers, 32 wide."""
    shape = {
        "vocab_size": 420,
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    return library.CLIPTextConfig(**shape | more)


def vae(levels: int = 2) -> diffusers.AutoencoderKL:
    """An autoencoder that divides height and width by 2 to the power of `levels - 1`."""
    return diffusers.AutoencoderKL(
        block_out_channels=(16, *[32] * (levels - 1)),
        norm_num_groups=8,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        sample_size=32,
    )


def latent_schedule(kind: Any, **more: Any) -> Any:
    """The noise schedule that Stable Diffusion was trained with, for the scheduler class `kind`."""
    return kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **more)


def save_pipeline(folder: Path, pipeline: Any) -> None:
    """Writes the pipeline as a published repository would hold it."""
    library.utils.logging.disable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)


def sd_parts(levels: int = 2) -> dict[str, Any]:
    """The parts of a Stable Diffusion 1 pipeline that makes pictures of 32 by 32 pixels; `levels`: its autoencoder's.

    Those that are given pictures have four, as Stable Diffusion itself: the work grows with the fourth power of what is
    left of their height and width.
    """
    return {
        "vae": vae(levels),
        "text_encoder": library.CLIPTextModel(clip_text_config()),
        "tokenizer": clip_tokenizer(),
        "unet": diffusers.UNet2DConditionModel(
            **UNET,
            sample_size=16,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=2,
        ),
        "scheduler": latent_schedule(diffusers.PNDMScheduler, skip_prk_steps=True, steps_offset=1),
    }


def stable_diffusion(folder: Path) -> None:
    """Stable Diffusion 1 without a safety checker."""
    save_pipeline(
        folder,
        diffusers.StableDiffusionPipeline(
            **sd_parts(), safety_checker=None, feature_extractor=None, requires_safety_checker=False
        ),
    )


def image_to_image(folder: Path) -> None:
    """Stable Diffusion 1 as a pipeline that changes an image."""
    save_pipeline(
        folder,
        diffusers.StableDiffusionImg2ImgPipeline(
            **sd_parts(levels=4), safety_checker=None, feature_extractor=None, requires_safety_checker=False
        ),
    )


def inpainting(folder: Path) -> None:
    """Stable Diffusion 1 as a pipeline that fills in a part of an image."""
    save_pipeline(
        folder,
        diffusers.StableDiffusionInpaintPipeline(
            **sd_parts(levels=4), safety_checker=None, feature_extractor=None, requires_safety_checker=False
        ),
    )


def stable_diffusion_checked(folder: Path) -> None:
    """Stable Diffusion 1 with a safety checker that finds fault with every picture."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    config = library.CLIPConfig(
        text_config=clip_text_config().to_dict(),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=32,
    )
    checker = StableDiffusionSafetyChecker(config)
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(-10.0)  # the threshold: any likeness is above it
    extractor = library.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    save_pipeline(
        folder, diffusers.StableDiffusionPipeline(**sd_parts(), safety_checker=checker, feature_extractor=extractor)
    )


def stable_diffusion_xl(folder: Path) -> None:
    """Stable Diffusion XL: two text encoders, the second one's projection beside the size as added conditions."""
    projected = {"hidden_act": "gelu", "projection_dim": 32}
    save_pipeline(
        folder,
        diffusers.StableDiffusionXLPipeline(
            vae=vae(),
            text_encoder=library.CLIPTextModel(clip_text_config(**projected)),
            text_encoder_2=library.CLIPTextModelWithProjection(clip_text_config(**projected)),
            tokenizer=clip_tokenizer(),
            tokenizer_2=clip_tokenizer(),
            unet=diffusers.UNet2DConditionModel(
                **UNET,
                sample_size=16,
                in_channels=4,
                out_channels=4,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                attention_head_dim=(2, 4),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                transformer_layers_per_block=(1, 2),
                projection_class_embeddings_input_dim=80,
                cross_attention_dim=64,
            ),
            scheduler=latent_schedule(diffusers.EulerDiscreteScheduler, steps_offset=1),
            add_watermarker=False,
        ),
    )


def pixel_unet() -> diffusers.UNet2DModel:
    """A denoiser of pictures of 16 by 16 pixels, with no text."""
    return diffusers.UNet2DModel(
        **UNET,
        sample_size=16,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
    )


def ddpm(folder: Path) -> None:
    """DDPM on pixels."""
    save_pipeline(folder, diffusers.DDPMPipeline(unet=pixel_unet(), scheduler=diffusers.DDPMScheduler()))


def ddim(folder: Path) -> None:
    """DDIM on pixels."""
    save_pipeline(folder, diffusers.DDIMPipeline(unet=pixel_unet(), scheduler=diffusers.DDIMScheduler()))


def dit(folder: Path) -> None:
    """DiT: a transformer that denoises pictures of one of four classes."""
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
    save_pipeline(
        folder,
        diffusers.DiTPipeline(
            transformer=transformer, vae=vae(), scheduler=diffusers.DDIMScheduler(), id2label={"0": "tench", "1": "fox"}
        ),
    )


def text_to_video_sd(folder: Path) -> None:
    """Text to video in latent space: films of 32 by 32 pixels."""
    save_pipeline(
        folder,
        diffusers.TextToVideoSDPipeline(
            vae=vae(levels=3),
            text_encoder=library.CLIPTextModel(clip_text_config()),
            tokenizer=clip_tokenizer(),
            unet=diffusers.UNet3DConditionModel(
                block_out_channels=(16, 32),
                layers_per_block=1,
                norm_num_groups=8,
                sample_size=8,
                in_channels=4,
                out_channels=4,
                down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
                cross_attention_dim=32,
                attention_head_dim=4,
            ),
            scheduler=latent_schedule(diffusers.DDIMScheduler, clip_sample=False, set_alpha_to_one=False),
        ),
    )


def t5(kind: Any = library.T5EncoderModel) -> tuple[Any, Any]:
    """An encoder of T5's kind, 32 wide, and its tokenizer."""
    tokenizer = tokenizers.unigram()
    config = kind.config_class(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=37,
        num_layers=1,
        num_heads=4,
        decoder_start_token_id=0,
    )
    return kind(config), library.T5TokenizerFast(tokenizer_object=tokenizer._tokenizer, model_max_length=64)


def cogvideo_parts(sees: bool) -> dict[str, Any]:
    """The parts of a CogVideoX pipeline that makes films of 5 frames, 32 by 32 pixels. `sees`: its denoiser reads an
    image, or another film, beside the latents."""
    encoder, tokenizer = t5()
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


def image_to_video(folder: Path) -> None:
    """CogVideoX that makes a film of an image and a text."""
    save_pipeline(folder, diffusers.CogVideoXImageToVideoPipeline(**cogvideo_parts(sees=True)))


def video_to_video(folder: Path) -> None:
    """CogVideoX that makes a film of another one and a text."""
    save_pipeline(folder, diffusers.CogVideoXVideoToVideoPipeline(**cogvideo_parts(sees=False)))


def vits_of(folder: Path, speakers: int) -> None:
    """VITS that reads lower-case letters; 16 kHz."""
    letters = " abcdefghijklmnopqrstuvwxyz'-"
    vocabulary = {letter: index for index, letter in enumerate(["<pad>", *letters])}
    vocabulary["<unk>"] = len(vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = library.VitsTokenizer(folder / "vocab.json", phonemize=False, language="eng")
    config = library.VitsConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=32,
        flow_size=16,
        spectrogram_bins=17,
        duration_predictor_num_flows=2,
        duration_predictor_filter_channels=16,
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        upsample_initial_channel=16,
        upsample_rates=[8, 8],
        upsample_kernel_sizes=[16, 16],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        num_speakers=speakers,
        speaker_embedding_size=8 if speakers > 1 else 0,
        wavenet_dropout=0.0,
    )
    save(folder, tokenizer, library.VitsModel(config))


def vits(folder: Path) -> None:
    """VITS with one voice."""
    vits_of(folder, speakers=1)


def vits_speakers(folder: Path) -> None:
    """VITS with three voices."""
    vits_of(folder, speakers=3)


def musicgen(folder: Path) -> None:
    """MusicGen: T5 reads, a decoder of 4 codebooks writes, EnCodec makes 25 steps a second of 800 Hz sound of them."""
    words = tokenizers.unigram()
    text = library.T5Config(
        vocab_size=len(words), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=1
    )
    audio = library.EncodecConfig(
        sampling_rate=800,
        audio_channels=1,
        upsampling_ratios=[8, 4],
        num_filters=4,
        hidden_size=16,
        codebook_size=64,
        codebook_dim=16,
        num_lstm_layers=1,
        target_bandwidths=[0.6],
    )
    decoder = library.MusicgenDecoderConfig(
        vocab_size=64,
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_codebooks=4,
        pad_token_id=64,
        bos_token_id=64,
    )
    config = library.MusicgenConfig(
        text_encoder=text.to_dict(), audio_encoder=audio.to_dict(), decoder=decoder.to_dict()
    )
    model = library.MusicgenForConditionalGeneration(config)
    for layer in model.audio_encoder.quantizer.layers:
        layer.codebook.embed.normal_()  # fresh ones are zero: every code would sound alike
    model.generation_config.update(
        guidance_scale=3.0, do_sample=True, max_length=30, decoder_start_token_id=64, pad_token_id=64, bos_token_id=64
    )
    extractor = library.EncodecFeatureExtractor(feature_size=1, sampling_rate=800)
    save(folder, library.MusicgenProcessor(extractor, words), model)


def vocoder(bins: int) -> library.SpeechT5HifiGan:
    """A vocoder of spectrograms with `bins` bins: 16 kHz, 4 samples a frame."""
    config = library.SpeechT5HifiGanConfig(
        model_in_dim=bins,
        sampling_rate=16000,
        upsample_initial_channel=16,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
    )
    return spread(library.SpeechT5HifiGan(config))


def speecht5(folder: Path) -> None:
    """SpeechT5 that takes voices of 8 numbers, with its vocoder in the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = tokenizers.sentence_pieces(60, model_type="char", pad_id=1, bos_id=0, eos_id=2, unk_id=3)
    (folder / "spm_char.model").write_bytes(pieces)
    tokenizer = library.SpeechT5Tokenizer(str(folder / "spm_char.model"))
    config = library.SpeechT5Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=8,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_units=16,
        speaker_embedding_dim=8,
    )
    extractor = library.SpeechT5FeatureExtractor(num_mel_bins=8)
    model = library.SpeechT5ForTextToSpeech(config)
    with torch.no_grad():
        model.speech_decoder_postnet.prob_out.bias.fill_(-10.0)  # never says of itself that it is done
    save(folder, library.SpeechT5Processor(extractor, tokenizer), model)
    vocoder(8).save_pretrained(folder / "vocoder")


def audioldm(folder: Path) -> None:
    """AudioLDM: a spectrogram in latent space by diffusion, then a vocoder."""
    tokenizer = tokenizers.byte_level(
        ["<s>", "<pad>", "</s>", "<unk>"],
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    tokenizer.model_max_length = 16
    text = library.ClapTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=37,
        num_attention_heads=1,
        num_hidden_layers=1,
        projection_dim=8,
        max_position_embeddings=32,
    )
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
    spectrograms = diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=8,
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    save_pipeline(
        folder,
        diffusers.AudioLDMPipeline(
            vae=spectrograms,
            text_encoder=library.ClapTextModelWithProjection(text),
            tokenizer=tokenizer,
            unet=unet,
            scheduler=latent_schedule(diffusers.DDIMScheduler, clip_sample=False, set_alpha_to_one=False),
            vocoder=vocoder(8),
        ),
    )


FAMILIES: dict[str, Callable[[Path], None]] = {
    "stable_diffusion": stable_diffusion,
    "image_to_image": image_to_image,
    "inpainting": inpainting,
    "stable_diffusion_checked": stable_diffusion_checked,
    "stable_diffusion_xl": stable_diffusion_xl,
    "ddpm": ddpm,
    "ddim": ddim,
    "dit": dit,
    "text_to_video_sd": text_to_video_sd,
    "image_to_video": image_to_video,
    "video_to_video": video_to_video,
    "vits": vits,
    "vits_speakers": vits_speakers,
    "musicgen": musicgen,
    "speecht5": speecht5,
    "audioldm": audioldm,
}
