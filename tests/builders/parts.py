"""Parts that are put into pipelines, random, and saved as they are published by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch


def fill_zeros(part: Any) -> None:
    """Draws the weights that begin as zeros: with those a control image, say, would not show in the answer."""
    with torch.no_grad():
        for weights in part.parameters():
            if weights.dim() > 1 and not weights.any():
                weights.normal_(0.0, 0.02)


def condition_net(unet: Any) -> Any:
    """What reads a control image for `unet`."""
    return diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))


def motion_adapter(**more: Any) -> Any:
    """What makes films of the images of a U-Net of two levels."""
    return diffusers.MotionAdapter(
        block_out_channels=(16, 32),
        motion_layers_per_block=1,
        motion_norm_num_groups=2,
        motion_num_attention_heads=2,
        **more,
    )


def publish_control_net(base: Path, folder: Path, base_id: str = "tests/base") -> Path:
    """Saves one for the pipeline in the folder `base`."""
    torch.manual_seed(0)
    return publish(condition_net(diffusers.UNet2DConditionModel.from_pretrained(base / "unet")), folder, base_id)


def publish_motion_adapter(folder: Path, base_id: str = "tests/base") -> Path:
    """Saves one."""
    torch.manual_seed(0)
    return publish(motion_adapter(), folder, base_id)


def publish(part: Any, folder: Path, base_id: str) -> Path:
    """Saves a part with a card that names its base."""
    fill_zeros(part)
    part.save_pretrained(folder)
    (folder / "README.md").write_text(f"---\nbase_model: {base_id}\n---\n")
    return folder
