"""Tiny parts that several families of pipelines share."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.builders import generative


def schedule(kind: Any = diffusers.DDIMScheduler) -> Any:
    """The schedule of Stable Diffusion."""
    return generative.latent_schedule(kind, steps_offset=1)


def flow_vae(channels: int, levels: int = 2) -> Any:
    """An autoencoder as flow models have it; each of its `levels` after the first halves the sides."""
    return diffusers.AutoencoderKL(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0609,
        scaling_factor=1.5035,
    )


def eighth_vae(**more: Any) -> Any:
    """An autoencoder of Stable Diffusion's kind for pipelines that choose the size themselves: an eighth of a side."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        **more,
    )


def latents_of_three_axes(kind: Any, channels: int) -> Any:
    """An autoencoder of Wan's kind, which an image goes through as a video of one frame: an eighth of each side."""
    return kind(
        base_dim=8,
        z_dim=channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
    )


def deep_vae(channels: int) -> Any:
    """An autoencoder without noise: a 32nd of each side, as it has it that makes 512 by 512 pixels."""
    return diffusers.AutoencoderDC(
        latent_channels=channels,
        attention_head_dim=2,
        encoder_block_types=(*("ResBlock",) * 5, "EfficientViTBlock"),
        decoder_block_types=(*("ResBlock",) * 5, "EfficientViTBlock"),
        encoder_block_out_channels=(8,) * 6,
        decoder_block_out_channels=(8,) * 6,
        encoder_qkv_multiscales=(*((),) * 5, (5,)),
        decoder_qkv_multiscales=(*((),) * 5, (5,)),
        encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )


def sight(**more: Any) -> Any:
    """What CLIP sees of an image."""
    shape = {
        "hidden_size": 32,
        "intermediate_size": 37,
        "projection_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    return transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**shape | more))


def sight_processor() -> Any:
    """How an image is made ready for it."""
    return transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, resample=2
    )


def adapter(factor: int, kind: str) -> Any:
    """What reads a control image for the adapters' pipelines; `factor`: by how much it is made smaller first."""
    return diffusers.T2IAdapter(
        in_channels=3, channels=[16, 32], num_res_blocks=1, downscale_factor=factor, adapter_type=kind
    )


def depth() -> dict[str, Any]:
    """What sees how far away things are."""
    config = transformers.DPTConfig(
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
    )
    return {
        "depth_estimator": transformers.DPTForDepthEstimation(config),
        "feature_extractor": transformers.DPTImageProcessorPil(size={"height": 32, "width": 32}),
    }
