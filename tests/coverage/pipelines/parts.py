"""Tiny parts that several families of pipelines share."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from tests.builders import generative, tokenizers


def schedule(kind: Any = diffusers.DDIMScheduler) -> Any:
    """The schedule of Stable Diffusion."""
    return generative.latent_schedule(kind, steps_offset=1)


def clip(**more: Any) -> Any:
    """A text encoder with a projection."""
    return transformers.CLIPTextModelWithProjection(
        generative.clip_text_config(hidden_act="gelu", projection_dim=32, **more)
    )


def t5() -> tuple[Any, Any]:
    """A T5 encoder, 32 wide, and a tokenizer of its kind."""
    tokenizer = tokenizers.unigram()
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4, decoder_start_token_id=0
    )
    return transformers.T5EncoderModel(config), transformers.T5TokenizerFast(tokenizer_object=tokenizer._tokenizer)


def flow_vae(channels: int) -> Any:
    """An autoencoder as flow models have it."""
    return diffusers.AutoencoderKL(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0609,
        scaling_factor=1.5035,
    )


def condition_net(unet: Any) -> Any:
    """What reads a control image for `unet`."""
    return diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))


def adapter() -> Any:
    """What reads a control image for the adapters' pipelines."""
    return diffusers.T2IAdapter(
        in_channels=3, channels=[16, 32], num_res_blocks=1, downscale_factor=4, adapter_type="full_adapter"
    )


def motion_adapter() -> Any:
    """What makes films of the images of a U-Net."""
    return diffusers.MotionAdapter(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=2
    )
