"""Weights that are pickle files only: read when the operator allows it, never otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modelyard.errors import ModelRefused
from modelyard.worker.runtimes.base import load_model

HEADS = ("sequence-classification",)


@pytest.fixture
def pickled_folder(model_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A classifier whose weights are a pickle."""
    folder = tmp_path / "pickled"
    shutil.copytree(model_folder("bert_classifier"), folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_allowed_pickles_give_the_same_outputs(pickled_folder: Path, model_folder: Callable[[str], Path]) -> None:
    inputs = {"input_ids": np.array([[2, 7, 9, 3]]), "attention_mask": np.ones((1, 4), dtype=np.int64)}
    pickled = load_model("transformers", pickled_folder, HEADS, pickled=True).forward(inputs)
    stored = load_model("transformers", model_folder("bert_classifier"), HEADS).forward(inputs)
    np.testing.assert_allclose(pickled["logits"], stored["logits"], atol=1e-6)


def test_pickles_nobody_allowed_are_not_opened(pickled_folder: Path) -> None:
    with pytest.raises(ModelRefused):
        load_model("transformers", pickled_folder, HEADS)
