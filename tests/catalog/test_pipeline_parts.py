"""Parts of pipelines in the catalogue: what they are with their base and without it, and what refuses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.records.models import ModelCard
from tests.catalog.models import Files, diffusers, model, text, weights, write

CARD = "---\nbase_model: acme/base\n---\n"


def part(name: str, card: str = CARD) -> Files:
    return {
        "config.json": text({"_class_name": name, "_diffusers_version": "0.42.1"}),
        "diffusion_pytorch_model.safetensors": weights(400),
        "README.md": card.encode(),
    }


async def card_of(root: Path, files: Files, base: Files | None = None) -> ModelCard:
    write(root / "acme" / "part", files)
    if base is not None:
        write(root / "acme" / "base", base)
    return await Catalog(Folders([root])).get("acme/part")


@pytest.mark.parametrize(
    ("name", "base", "pipeline", "task"),
    [
        ("ControlNetModel", "StableDiffusionPipeline", "StableDiffusionControlNetPipeline", "image-to-image"),
        ("ControlNetModel", "StableDiffusionXLPipeline", "StableDiffusionXLControlNetPipeline", "image-to-image"),
        (
            "ControlNetUnionModel",
            "StableDiffusionXLPipeline",
            "StableDiffusionXLControlNetUnionPipeline",
            "image-to-image",
        ),
        ("SD3ControlNetModel", "StableDiffusion3Pipeline", "StableDiffusion3ControlNetPipeline", "image-to-image"),
        ("FluxControlNetModel", "FluxPipeline", "FluxControlNetPipeline", "image-to-image"),
        ("T2IAdapter", "StableDiffusionXLPipeline", "StableDiffusionXLAdapterPipeline", "image-to-image"),
        ("MotionAdapter", "StableDiffusionPipeline", "AnimateDiffPipeline", "text-to-video"),
        ("MotionAdapter", "StableDiffusionXLPipeline", "AnimateDiffSDXLPipeline", "text-to-video"),
    ],
)
async def test_a_part_makes_a_pipeline_of_its_base_and_takes_the_memory_of_both(
    root: Path, name: str, base: str, pipeline: str, task: str
) -> None:
    card = await card_of(root, part(name), diffusers(base))

    assert card.refusal is None
    assert card.base is not None
    assert card.inspection.adapter is not None
    assert (card.task, card.inspection.architecture, card.inspection.runtime) == (task, pipeline, "diffusers")
    assert (card.inspection.adapter.base_id, card.inspection.adapter.kind) == ("acme/base", name)
    assert card.inspection.weight_files == ("diffusion_pytorch_model.safetensors",)
    assert card.memory_bytes == card.base.memory_bytes + 4 * 400


@pytest.mark.parametrize(
    ("files", "base", "said"),
    [
        (part("ControlNetModel", ""), diffusers(), "write `base_model: org/name` at the top of its README.md"),
        (part("ControlNetModel"), model(), "no pipeline of the two"),
        (part("FluxControlNetModel"), diffusers("DDPMPipeline"), "acme/base, which is a DDPMPipeline"),
        (part("MotionAdapter"), diffusers("FluxPipeline"), "acme/base, which is a FluxPipeline"),
        (part("ControlNetModel"), None, "acme/base"),
        (
            {**part("ControlNetModel"), "diffusion_pytorch_model.safetensors": b"short"},
            diffusers(),
            "cannot be loaded",
        ),
        (
            {key: value for key, value in part("ControlNetModel").items() if not key.endswith("safetensors")},
            diffusers(),
            "there is no diffusion_pytorch_model.safetensors",
        ),
    ],
)
async def test_what_nothing_can_be_made_of_says_why(root: Path, files: Files, base: Files | None, said: str) -> None:
    assert said in ((await card_of(root, files, base)).refusal or "")
