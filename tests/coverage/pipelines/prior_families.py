"""Families of pipelines that first make of a text what an image's description would be, then the image: all the parts
that their classes may ask for."""

from __future__ import annotations

from typing import Any

import diffusers

from tests.builders import generative
from tests.coverage.pipelines.parts import sight, sight_processor
from tests.coverage.pipelines.readers import clip, t5


def prior(**more: Any) -> Any:
    """What makes an image's description, 32 wide, of a text of 16 tokens."""
    return diffusers.PriorTransformer(
        num_attention_heads=2,
        attention_head_dim=16,
        embedding_dim=32,
        num_layers=1,
        num_embeddings=16,
        **more,
    )


def unclip_schedule(**more: Any) -> Any:
    """The schedule of a prior."""
    return diffusers.UnCLIPScheduler(
        variance_type="fixed_small_log", prediction_type="sample", clip_sample=True, clip_sample_range=5.0, **more
    )


def movq() -> Any:
    """The autoencoder of Kandinsky: half of each side."""
    return diffusers.VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )


def kandinsky_2_2(name: str) -> dict[str, Any]:
    """Kandinsky 2.2."""
    unet = diffusers.UNet2DConditionModel(
        in_channels=9 if "Inpaint" in name else 4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(32, 64),
        layers_per_block=1,
        encoder_hid_dim=32,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=32,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
    )
    return {
        "unet": unet,
        "scheduler": diffusers.DDPMScheduler(beta_schedule="linear", variance_type="learned_range"),
        "movq": movq(),
        "prior_prior": prior(),
        "prior_image_encoder": sight(),
        "prior_text_encoder": clip(),
        "prior_tokenizer": generative.clip_tokenizer(),
        "prior_scheduler": unclip_schedule(),
        "prior_image_processor": sight_processor(),
    }


def kandinsky_3(_name: str) -> dict[str, Any]:
    """Kandinsky 3."""
    encoder, tokenizer = t5()
    unet = diffusers.Kandinsky3UNet(
        in_channels=4,
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=3,
        block_out_channels=(32, 64),
        cross_attention_dim=4,
        encoder_hid_dim=32,
    )
    scheduler = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=True)
    return {"tokenizer": tokenizer, "text_encoder": encoder, "unet": unet, "scheduler": scheduler, "movq": movq()}


def stable_cascade(_name: str) -> dict[str, Any]:
    """Stable Cascade."""
    layers: dict[str, Any] = {
        "conditioning_dim": 32,
        "block_out_channels": (16, 32),
        "num_attention_heads": (-1, 4),
        "down_num_layers_per_block": (1, 1),
        "up_num_layers_per_block": (1, 1),
        "clip_text_pooled_in_channels": 32,
        "block_types_per_layer": (
            ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ),
    }
    prior_unet = diffusers.StableCascadeUNet(
        **layers,
        in_channels=16,
        out_channels=16,
        clip_text_in_channels=32,
        clip_image_in_channels=32,
        switch_level=(False,),
    )
    decoder = diffusers.StableCascadeUNet(
        **layers, in_channels=4, out_channels=4, patch_size=1, effnet_in_channels=16, kernel_size=3
    )
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    return {
        "tokenizer": generative.clip_tokenizer(),
        "text_encoder": clip(),
        "decoder": decoder,
        "scheduler": diffusers.DDPMWuerstchenScheduler(),
        "vqgan": PaellaVQModel(
            latent_channels=4, num_vq_embeddings=32, embed_dim=8, up_down_scale_factor=2, levels=2, bottleneck_blocks=1
        ),
        "prior_prior": prior_unet,
        "prior_text_encoder": clip(),
        "prior_tokenizer": generative.clip_tokenizer(),
        "prior_scheduler": diffusers.DDPMWuerstchenScheduler(),
        "prior_feature_extractor": None,
        "prior_image_encoder": None,
    }


def unclip(_name: str) -> dict[str, Any]:
    """unCLIP."""
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

    decoder = diffusers.UNet2DConditionModel(
        in_channels=3,
        out_channels=6,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="identity",
        sample_size=16,
    )

    def larger() -> Any:
        return diffusers.UNet2DModel(
            sample_size=32,
            layers_per_block=1,
            down_block_types=("ResnetDownsampleBlock2D",) * 2,
            up_block_types=("ResnetUpsampleBlock2D",) * 2,
            block_out_channels=(32, 64),
            in_channels=6,
            out_channels=3,
        )

    return {
        "prior": prior(),
        "decoder": decoder,
        "text_encoder": clip(),
        "tokenizer": generative.clip_tokenizer(),
        "text_proj": UnCLIPTextProjModel(
            clip_embeddings_dim=32, time_embed_dim=128, cross_attention_dim=32, clip_extra_context_tokens=4
        ),
        "feature_extractor": sight_processor(),
        "image_encoder": sight(),
        "super_res_first": larger(),
        "super_res_last": larger(),
        "prior_scheduler": unclip_schedule(),
        "decoder_scheduler": diffusers.UnCLIPScheduler(variance_type="learned_range", prediction_type="epsilon"),
        "super_res_scheduler": diffusers.UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="epsilon"),
    }
