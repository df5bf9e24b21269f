"""Repositories that hold Stable Diffusion in one file: what they are, and why some are not served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from modelyard.catalog.inspection import inspect_folder
from modelyard.records.checkpoints import CLIP, DECODER, FIRST, OPEN_CLIP, XL_CLIP, XL_OPEN_CLIP
from tests.catalog.models import write

VOCABULARY = {"tokenizer/vocab.json": b"{}", "tokenizer/merges.txt": b""}


def checkpoint(*texts: str, reads: int = 4) -> bytes:
    """One whose denoiser reads so many channels, with text encoders of these kinds."""
    shapes = {FIRST: (8, reads, 3, 3), DECODER: (4, 4, 1, 1), **dict.fromkeys(texts, (16, 8))}
    return save({name: np.zeros(shape, "float16") for name, shape in shapes.items()})


@pytest.mark.parametrize(
    ("texts", "reads", "pipeline", "task"),
    [
        ([CLIP], 4, "StableDiffusionPipeline", "text-to-image"),
        ([OPEN_CLIP], 4, "StableDiffusionPipeline", "text-to-image"),
        ([CLIP], 8, "StableDiffusionInstructPix2PixPipeline", "image-to-image"),
        ([CLIP], 9, "StableDiffusionInpaintPipeline", "image-to-image"),
        ([XL_CLIP, XL_OPEN_CLIP], 4, "StableDiffusionXLPipeline", "text-to-image"),
        ([XL_CLIP, XL_OPEN_CLIP], 9, "StableDiffusionXLInpaintPipeline", "image-to-image"),
    ],
)
def test_its_tensors_say_which_pipeline_it_is(
    texts: list[str], reads: int, pipeline: str, task: str, tmp_path: Path
) -> None:
    file = checkpoint(*texts, reads=reads)
    write(tmp_path, {"v1-5-pruned-emaonly.safetensors": file, **VOCABULARY})
    found = inspect_folder(tmp_path)
    assert (found.problem, found.architecture, found.task) == (None, pipeline, task)
    assert (found.library, found.dtype) == ("diffusers", "F16")
    assert found.weight_files == ("v1-5-pruned-emaonly.safetensors",)


@pytest.mark.parametrize(
    "vocabulary", [{"vocab.json": b"{}", "merges.txt": b""}, {"tokenizer/tokenizer.json": b"{}"}, VOCABULARY]
)
def test_a_tokenizer_may_lie_beside_it_or_in_its_folder(vocabulary: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path, {"one.safetensors": checkpoint(CLIP), **vocabulary})
    assert inspect_folder(tmp_path).problem is None


def test_one_without_a_tokenizer_is_refused_with_the_way_out(tmp_path: Path) -> None:
    write(tmp_path, {"v1-5-pruned.safetensors": checkpoint(CLIP), "vocab.json": b"{}"})
    problem = inspect_folder(tmp_path).problem or ""
    assert "is Stable Diffusion in one file" in problem
    assert "merges.txt of openai/clip-vit-large-patch14" in problem
    assert "save_pretrained" in problem


def test_of_several_nobody_says_which_is_meant(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}.safetensors": checkpoint(CLIP) for name in ("ema", "pruned")} | VOCABULARY)
    assert "holds 2 checkpoints (ema.safetensors, pruned.safetensors)" in (inspect_folder(tmp_path).problem or "")


@pytest.mark.parametrize("texts", [[], [XL_OPEN_CLIP]])
def test_another_kind_is_refused_with_the_way_out(texts: list[str], tmp_path: Path) -> None:
    write(tmp_path, {"sd_xl_refiner.safetensors": checkpoint(*texts), **VOCABULARY})
    problem = inspect_folder(tmp_path).problem or ""
    assert "is a pipeline in one file, of a kind that is not read so" in problem
    assert "save_pretrained" in problem
