"""Stable Diffusion in one file answers as the same pipeline in a folder for each part does, and its configs are read
from its shapes as they were published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers

from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import ModelRefused
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.checkpoint_configs import Shapes, read_text_configs, read_unet_config, read_vae_config
from tests.builders import checkpoints

pytestmark = pytest.mark.imports_models

SETTINGS = {
    "text": "a small fox",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "guidance_scale": 3.0,
    "seed": 4,
}


def answer(folder: Path, **more: Any) -> Any:
    """What the model in the folder makes."""
    model: Any = load_model("diffusers", folder, ("image-pipeline",), device="cpu")
    return model.make({**SETTINGS, **more}, lambda _done, _total: False)


@pytest.mark.parametrize(
    ("make", "kind", "task"),
    [
        (lambda: checkpoints.parts_of_1(9), "StableDiffusionInpaintPipeline", "image-to-image"),
        (checkpoints.parts_of_xl, "StableDiffusionXLPipeline", "text-to-image"),
    ],
)
def test_it_answers_as_the_same_pipeline_in_folders(
    make: Callable[[], dict[str, Any]], kind: str, task: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    parts = make()
    checkpoints.save_checkpoint(tmp_path / "one", parts)
    getattr(diffusers, kind)(**parts).save_pretrained(tmp_path / "parts")
    found = inspect_folder(tmp_path / "one")
    assert (found.architecture, found.task, found.problem) == (kind, task, None)
    media = {"image": picture(), "mask": picture().convert("L"), "strength": 1.0} if task == "image-to-image" else {}
    assert np.array_equal(answer(tmp_path / "one", **media), answer(tmp_path / "parts", **media))


def picture() -> Any:
    """An image that is changed."""
    from PIL import Image

    return Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))


def shapes_of(tensors: checkpoints.Tensors) -> Shapes:
    """As a file's header has them."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


PUBLISHED = {
    "1.5": {
        "in_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "sample_size": 64,
        "use_linear_projection": False,
    },
    "2.1": {
        "in_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "sample_size": 96,
        "use_linear_projection": True,
    },
    "XL": {
        "in_channels": 4,
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
        "up_block_types": (*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "sample_size": 128,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
"""The denoisers' configs. Source: stable-diffusion-v1-5, stabilityai/stable-diffusion-2-1, and -xl-base-1.0."""
TEXTS = {
    "L": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "H": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    "bigG": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20},
}
"""CLIP's text encoders. Source: the configs of the same repositories and of OpenCLIP."""


def published_text(name: str) -> Any:
    """One of them, with its projection."""
    width = TEXTS[name]["hidden_size"]
    config = transformers.CLIPTextConfig(**TEXTS[name], vocab_size=49408, projection_dim=width)
    kind = transformers.CLIPTextModel if name == "L" else transformers.CLIPTextModelWithProjection
    return kind(config)


def published_shapes(version: str) -> Shapes:
    """Of a checkpoint of the published size, of which no number is held."""
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**PUBLISHED[version])
        vae = diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        tensors = checkpoints.unet_tensors(unet) | checkpoints.vae_tensors(vae)
        if version == "1.5":
            tensors |= checkpoints.clip_tensors(published_text("L"), "cond_stage_model.")
        elif version == "2.1":
            tensors |= checkpoints.open_clip_tensors(published_text("H"), "cond_stage_model.model.")
        else:
            tensors |= checkpoints.clip_tensors(published_text("L"), "conditioner.embedders.0.")
            tensors |= checkpoints.open_clip_tensors(published_text("bigG"), "conditioner.embedders.1.model.")
    return shapes_of(tensors)


@pytest.mark.parametrize("version", PUBLISHED)
def test_configs_of_the_published_sizes_are_read_from_their_shapes(version: str) -> None:
    shapes = published_shapes(version)
    unet = read_unet_config(shapes)
    for name, value in PUBLISHED[version].items():
        assert unet[name] == (list(value) if isinstance(value, tuple) else value), name
    vae = read_vae_config(shapes)
    assert (vae["block_out_channels"], vae["layers_per_block"]) == ([128, 256, 512, 512], 2)
    assert vae["scaling_factor"] == (0.13025 if version == "XL" else 0.18215)
    texts = read_text_configs(shapes)
    names = {"1.5": ["L"], "2.1": ["H"], "XL": ["L", "bigG"]}[version]
    for config, name in zip(texts.values(), names, strict=True):
        expected = {**TEXTS[name], "vocab_size": 49408, "max_position_embeddings": 77}
        expected["num_hidden_layers"] -= version == "2.1"  # whose last layer is not used
        assert {key: config[key] for key in expected} == expected
        assert config["hidden_act"] == ("quick_gelu" if name == "L" else "gelu")


def test_one_without_a_tokenizer_is_not_loaded(tmp_path: Path) -> None:
    checkpoints.save_checkpoint(tmp_path, checkpoints.parts_of_1())
    (tmp_path / "tokenizer").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelRefused, match=r"vocab\.json"):
        load_model("diffusers", tmp_path, ("image-pipeline",), device="cpu")
