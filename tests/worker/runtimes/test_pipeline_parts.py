"""Parts that are published by themselves, put into a base: answers are those of the library's own pipeline of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelyard.errors import ModelRefused
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.base import Head
from modelyard.worker.runtimes.base import load_adapted
from tests.later import Later
from tests.tasks.test_image_to_image import picture

TEXT = "A small fox by the river"
SETTINGS = {"num_inference_steps": 2, "height": 32, "width": 32}
Folder = Callable[[str], Path]
parts = Later("tests.builders.parts")


def load(folder: Path, base: Path, head: Head) -> Any:
    """The pipeline that a worker makes of a part and a base."""
    spec = ReplicaSpec("r1", "acme/part", str(folder), "some", runtime="diffusers", device="cpu", base=str(base))
    return load_adapted(spec, (head,))


def by_library(base: Path, name: str, part: Any, **given: Any) -> Any:
    """What the library's pipeline of both makes."""
    import diffusers

    whole = diffusers.DiffusionPipeline.from_pretrained(base, dtype=torch.float32)
    pipeline = getattr(diffusers, name).from_pipe(whole, **part)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(prompt=TEXT, generator=torch.Generator().manual_seed(5), output_type="np", **SETTINGS, **given)


def test_a_control_net_draws_after_an_image_as_the_library_does(model_folder: Folder, tmp_path: Path) -> None:
    import diffusers

    base = model_folder("stable_diffusion")
    folder = parts.publish_control_net(base, tmp_path / "canny")
    model = load(folder, base, "image-pipeline")
    made = model.make({"text": TEXT, "image": picture(32, 32), "seed": 5, **SETTINGS}, lambda *_: False)

    part = {"controlnet": diffusers.ControlNetModel.from_pretrained(folder)}
    expected = by_library(base, "StableDiffusionControlNetPipeline", part, image=picture(32, 32)).images[0]
    np.testing.assert_array_equal(made, (expected * 255).round().astype(np.uint8))
    without = model.make(
        {"text": TEXT, "image": picture(32, 32), "seed": 5, "controlnet_conditioning_scale": 0.0, **SETTINGS},
        lambda *_: False,
    )
    assert (without != made).any()


def test_a_motion_adapter_makes_videos_as_the_library_does(model_folder: Folder, tmp_path: Path) -> None:
    import diffusers

    base = model_folder("stable_diffusion")
    folder = parts.publish_motion_adapter(tmp_path / "motion")
    model = load(folder, base, "video-pipeline")
    made = model.make({"text": TEXT, "seed": 5, "num_frames": 3, **SETTINGS}, lambda *_: False)

    part = {"motion_adapter": diffusers.MotionAdapter.from_pretrained(folder)}
    expected = by_library(base, "AnimateDiffPipeline", part, num_frames=3).frames[0]
    np.testing.assert_array_equal(made, (expected * 255).round().astype(np.uint8))


def test_a_part_for_another_kind_of_base_is_refused(model_folder: Folder, tmp_path: Path) -> None:
    folder = parts.publish_motion_adapter(tmp_path / "motion")
    with pytest.raises(ModelRefused, match=r"motion is a MotionAdapter, .* no pipeline of one and a DDPMPipeline"):
        load(folder, model_folder("ddpm"), "video-pipeline")


def test_missing_weights_are_not_made_up(model_folder: Folder, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = parts.publish_motion_adapter(tmp_path / "motion")
    file = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors[min(tensors)]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelRefused, match="not complete"):
        load(folder, model_folder("stable_diffusion"), "video-pipeline")
