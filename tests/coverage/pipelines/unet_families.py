"""Families of pipelines whose denoiser is a U-Net: all the parts that their classes may ask for."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.builders import generative, tokenizers
from tests.builders.parts import condition_net, motion_adapter
from tests.coverage.pipelines.parts import adapter, depth, schedule, sight, sight_processor
from tests.coverage.pipelines.prior_families import prior, unclip_schedule
from tests.coverage.pipelines.readers import chatglm, clip, t5


def unet_channels(name: str) -> int:
    """Channels that a denoiser reads: the latents', and the image's where it sees that too."""
    if "Marigold" in name:
        return 8
    if "Pix2PixPipeline" in name or "Latent" in name or "ImageVariation" in name:
        return 8 if "Variation" not in name and "Consistency" not in name else 4
    return 5 if "Depth2Img" in name else 7 if "Upscale" in name else 4


def schedule_of(name: str) -> Any:
    """The schedule of one of Stable Diffusion's relatives."""
    own = {"LatentConsistency": "LCM", "Paradigms": "DDIMParallel", "LatentUpscale": "EulerDiscrete"}
    kind = next((kind for word, kind in own.items() if word in name), "DDIM")
    return schedule(getattr(diffusers, f"{kind}Scheduler"))


def stable_diffusion(name: str) -> dict[str, Any]:
    """Stable Diffusion 1 and what was made of it."""
    parts = generative.sd_parts()
    config = {key: value for key, value in parts["unet"].config.items() if not key.startswith("_")}
    config["in_channels"] = unet_channels(name)
    if "LatentConsistency" in name:
        config["time_cond_proj_dim"] = 32
    if "LatentUpscale" in name:
        config["time_cond_proj_dim"] = 160  # the text's 32, and 128 that say how much noise the image has
        config["out_channels"] = 5  # the latents' four, and one that is left out
    if "StableDiffusionUpscale" in name:
        config["num_class_embeds"] = 1000
    if "ControlNetXS" in name:  # whose own blocks have two layers
        config["layers_per_block"] = 2
    if "Adapter" in name:  # which adds to what is not made smaller yet
        config["down_block_types"] = ("CrossAttnDownBlock2D", "DownBlock2D")
        config["up_block_types"] = ("UpBlock2D", "CrossAttnUpBlock2D")
    unet = diffusers.UNet2DConditionModel(**config)
    own = depth() if "Depth2Img" in name else {}
    if "ImageVariation" in name:
        own = {"image_encoder": sight(), "feature_extractor": sight_processor()}
    if "TextToVideoZero" in name:
        own = {"feature_extractor": sight_processor()}
    return {
        **parts,
        "unet": unet,
        "scheduler": schedule_of(name),
        "inverse_scheduler": schedule(diffusers.DDIMInverseScheduler),
        "low_res_scheduler": diffusers.DDPMScheduler(),
        "controlnet": condition_of(name, unet),
        "adapter": adapter(2, "full_adapter"),
        "motion_adapter": motion_adapter(conv_in_channels=9 if "PIA" in name else None),
        "prediction_type": "normals" if "Normals" in name else "depth",
        "default_denoising_steps": 2,
        "default_processing_resolution": 24,
        **own,
    }


def condition_of(name: str, unet: Any) -> Any:
    """What reads a control image for `unet`; None for classes that take none."""
    if "ControlNet" not in name:
        return None
    if "Sparse" in name:
        return diffusers.SparseControlNetModel(
            block_out_channels=(16, 32),
            down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=32,
            attention_head_dim=2,
            conditioning_embedding_out_channels=(16, 32),
            motion_num_attention_heads=2,
        )
    if "Union" in name:
        net = diffusers.ControlNetUnionModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))
        config = {key: value for key, value in net.config.items() if not key.startswith("_")}
        return diffusers.ControlNetUnionModel(
            **config | {"num_trans_channel": 16, "num_trans_head": 2, "num_proj_channel": 16}
        )
    return beside(unet) if "ControlNetXS" in name else condition_net(unet)


def beside(unet: Any) -> Any:
    """What reads a control image beside each block of `unet`."""
    return diffusers.ControlNetXSAdapter.from_unet(
        unet, size_ratio=1, conditioning_embedding_out_channels=(16, 32), learn_time_embedding=False
    )


def stable_diffusion_xl(name: str) -> dict[str, Any]:
    """Stable Diffusion XL and what was made of it."""
    projected = {"hidden_act": "gelu", "projection_dim": 32}
    aesthetic = ("Img2Img" in name or "Inpaint" in name) and "ControlNet" not in name
    unet = diffusers.UNet2DConditionModel(
        **{**generative.UNET, "layers_per_block": 2 if "ControlNetXS" in name else 1},
        sample_size=16,
        in_channels=8 if "Pix2Pix" in name else 4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=72 if aesthetic else 80,
        cross_attention_dim=64,
    )
    return {
        "vae": generative.vae(),
        "text_encoder": transformers.CLIPTextModel(generative.clip_text_config(**projected)),
        "text_encoder_2": transformers.CLIPTextModelWithProjection(generative.clip_text_config(**projected)),
        "tokenizer": generative.clip_tokenizer(),
        "tokenizer_2": generative.clip_tokenizer(),
        "unet": unet,
        "scheduler": schedule(diffusers.EulerDiscreteScheduler),
        "requires_aesthetics_score": aesthetic,
        "controlnet": condition_of(name, unet),
        "adapter": adapter(4, "full_adapter_xl"),
        "motion_adapter": motion_adapter(),
    }


def pixels(name: str) -> dict[str, Any]:
    """Pipelines without a text that work on pixels."""
    schedules = {
        "DDPM": "DDPMScheduler", "DDIM": "DDIMScheduler", "PNDM": "PNDMScheduler", "RePaint": "RePaintScheduler",
        "KarrasVe": "KarrasVeScheduler", "ScoreSdeVe": "ScoreSdeVeScheduler",
        "ConsistencyModel": "CMStochasticIterativeScheduler",
    }  # fmt: skip
    kind = schedules[name.removesuffix("Pipeline")]
    settings = {"skip_prk_steps": True} if "PNDM" in name else {}  # which need more steps than are asked for here
    return {"unet": generative.pixel_unet(), "scheduler": getattr(diffusers, kind)(**settings)}


def deep_floyd(name: str) -> dict[str, Any]:
    """DeepFloyd IF: a text encoder, and a denoiser of pixels."""
    encoder, tokenizer = t5()
    larger = "SuperResolution" in name
    unet = diffusers.UNet2DConditionModel(
        sample_size=32,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        in_channels=6 if larger else 3,
        out_channels=6,
        cross_attention_dim=32,
        encoder_hid_dim=32,
        attention_head_dim=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
        class_embed_type="timestep" if larger else None,
    )
    noise = diffusers.DDPMScheduler(
        beta_schedule="squaredcos_cap_v2", variance_type="learned_range", prediction_type="epsilon"
    )
    parts = {"text_encoder": encoder, "tokenizer": tokenizer, "unet": unet, "scheduler": noise}
    return {**parts, "image_noising_scheduler": diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")}


def stable_video(_name: str) -> dict[str, Any]:
    """Stable Video Diffusion."""
    unet = diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=16,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=32,
        num_attention_heads=2,
        num_frames=5,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    )
    return {
        "vae": diffusers.AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4
        ),
        "image_encoder": sight(image_size=224, patch_size=32),  # the size that it is always shown
        "feature_extractor": sight_processor(),
        "unet": unet,
        "scheduler": schedule(diffusers.EulerDiscreteScheduler),
    }


def i2vgen(_name: str) -> dict[str, Any]:
    """I2VGen-XL."""
    unet = diffusers.I2VGenXLUNet(
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=2,
        sample_size=16,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=32,
        attention_head_dim=2,
    )
    own = {"image_encoder": sight(), "feature_extractor": sight_processor()}
    return {**generative.sd_parts(), **own, "unet": unet, "scheduler": schedule()}


def latent_diffusion_of_text(_name: str) -> dict[str, Any]:
    """Latent diffusion of a text, with a BERT of its own."""
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

    tokenizer = tokenizers.wordpiece()
    reader = LDMBertConfig(
        vocab_size=len(tokenizer),
        encoder_layers=1,
        encoder_ffn_dim=37,
        encoder_attention_heads=4,
        head_dim=8,
        d_model=32,
    )
    parts = generative.sd_parts(levels=4)
    return {
        "vqvae": parts["vae"],
        "bert": LDMBertModel(reader),
        "tokenizer": tokenizer,
        "unet": parts["unet"],
        "scheduler": schedule(),
    }


def stable_unclip(_name: str) -> dict[str, Any]:
    """Stable unCLIP: a denoiser that is told what CLIP would see."""
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

    parts = generative.sd_parts()
    config = {key: value for key, value in parts["unet"].config.items() if not key.startswith("_")}
    config |= {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 64}
    return {
        **parts,
        "unet": diffusers.UNet2DConditionModel(**config),
        "scheduler": schedule(),
        "prior": prior(),
        "prior_text_encoder": clip(),
        "prior_tokenizer": generative.clip_tokenizer(),
        "prior_scheduler": unclip_schedule(),
        "image_normalizer": StableUnCLIPImageNormalizer(embedding_dim=32),
        "image_noising_scheduler": diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        "image_encoder": sight(),
        "feature_extractor": sight_processor(),
    }


def kolors(_name: str) -> dict[str, Any]:
    """Kolors: Stable Diffusion XL whose text is read by ChatGLM."""
    encoder, tokenizer = chatglm()
    parts = stable_diffusion_xl("Kolors")
    config = {key: value for key, value in parts["unet"].config.items() if not key.startswith("_")}
    config |= {"encoder_hid_dim": 32, "encoder_hid_dim_type": "text_proj"}
    own = {"text_encoder": encoder, "tokenizer": tokenizer, "unet": diffusers.UNet2DConditionModel(**config)}
    return {**parts, **own}


def latent_diffusion(name: str) -> dict[str, Any]:
    """Latent diffusion without a text."""
    codes = diffusers.VQModel(
        block_out_channels=(16, 32),
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
    )
    unet = diffusers.UNet2DModel(
        **generative.UNET,
        sample_size=16,
        in_channels=6 if "SuperResolution" in name else 3,
        out_channels=3,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
    )
    return {"vqvae": codes, "unet": unet, "scheduler": diffusers.DDIMScheduler()}


def text_to_video(_name: str) -> dict[str, Any]:
    """Text to video with a denoiser of three dimensions."""
    unet = diffusers.UNet3DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=32,
        attention_head_dim=4,
    )
    return {**generative.sd_parts(), "unet": unet, "scheduler": schedule()}


def amused(_name: str) -> dict[str, Any]:
    """aMUSEd: tokens of an image, unmasked step by step."""
    transformer = diffusers.UVit2DModel(
        hidden_size=8,
        use_bias=False,
        hidden_dropout=0.0,
        cond_embed_dim=32,
        micro_cond_encode_dim=2,
        micro_cond_embed_dim=10,
        encoder_hidden_size=32,
        vocab_size=32,
        codebook_size=32,
        in_channels=8,
        block_out_channels=8,
        num_res_blocks=1,
        downsample=True,
        upsample=True,
        block_num_heads=1,
        num_hidden_layers=1,
        num_attention_heads=1,
        attention_dropout=0.0,
        intermediate_size=8,
        layer_norm_eps=1e-06,
        ln_elementwise_affine=True,
    )
    codes = diffusers.VQModel(
        act_fn="silu",
        block_out_channels=[8],
        down_block_types=["DownEncoderBlock2D"],
        in_channels=3,
        latent_channels=8,
        layers_per_block=1,
        norm_num_groups=8,
        num_vq_embeddings=32,
        out_channels=3,
        sample_size=8,
        up_block_types=["UpDecoderBlock2D"],
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    )
    return {
        "vqvae": codes,
        "transformer": transformer,
        "text_encoder": clip(),
        "tokenizer": generative.clip_tokenizer(),
        "scheduler": diffusers.AmusedScheduler(mask_token_id=31),
    }
