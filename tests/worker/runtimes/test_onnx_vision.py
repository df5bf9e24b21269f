"""Detectors, and models of images and texts, that others have exported to ONNX answer as their originals."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelyard.catalog.inspection import inspect_folder
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_file, load_model
from modelyard.worker.runtimes.onnx_detection import sample
from tests.builders.fixtures import Ask

SELDOM = pytest.mark.verify(part="variants")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Originals compute on one: several that wait for each other take minutes on a busy machine."""
    import torch

    torch.set_num_threads(1)


def picture(seed: int) -> str:
    """A square of noise, in base64."""
    pixels = np.random.default_rng(seed).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    return base64.b64encode(held.getvalue()).decode()


def load(folder: Path, task: str) -> Any:
    found = inspect_folder(folder)
    assert (found.problem, found.task, found.runtime) == (None, task, "onnx")
    (file,) = found.weight_files
    spec = ReplicaSpec("r", "a/b", str(folder), task, runtime="onnx", weights=file, context_tokens=found.max_length)
    return load_file(spec, get_task(task).heads)


@pytest.mark.parametrize("family", ["detr", pytest.param("yolos", marks=SELDOM)])
def test_a_detector_finds_what_its_original_finds(
    published_folder: Callable[[str], Path], model_folder: Callable[[str], Path], ask: Ask, family: str
) -> None:
    task = get_task("object-detection")
    original = load_model("transformers", model_folder(family), task.heads, device="cpu")
    bodies = [{"base64": picture(seed), "params": {"threshold": 0}} for seed in (1, 2)]

    got, wanted = (ask(task, each, *bodies) for each in (load(published_folder(family), task.id), original))

    for mine, theirs in zip(got, wanted, strict=True):
        assert len(theirs) > 5
        assert [(each["label"], each["box"]) for each in mine] == [(each["label"], each["box"]) for each in theirs]
        np.testing.assert_allclose([each["score"] for each in mine], [each["score"] for each in theirs], atol=1e-5)


def test_a_mask_of_one_size_is_sampled_from_one_of_another() -> None:
    mask = np.zeros((1, 6, 8), dtype=np.int64)
    mask[:, :3, :4] = 1
    np.testing.assert_array_equal(sample(mask, 2, 2), [[[1, 0], [0, 0]]])
    np.testing.assert_array_equal(sample(mask, 12, 16).sum(), 4 * mask.sum())


def test_labels_are_chosen_as_by_the_original(
    published_folder: Callable[[str], Path], model_folder: Callable[[str], Path], ask: Ask
) -> None:
    task = get_task("zero-shot-image-classification")
    original = load_model("transformers", model_folder("clip"), task.heads, device="cpu")
    labels = ["a fox", "the sea at night", "a dog"]
    bodies = [{"base64": picture(seed), "candidate_labels": labels} for seed in (1, 2)]

    got, wanted = (ask(task, each, *bodies) for each in (load(published_folder("clip"), task.id), original))

    for mine, theirs in zip(got, wanted, strict=True):
        assert [each["label"] for each in mine] == [each["label"] for each in theirs]
        np.testing.assert_allclose([each["score"] for each in mine], [each["score"] for each in theirs], atol=1e-5)
