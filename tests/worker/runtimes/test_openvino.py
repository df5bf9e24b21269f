"""Variants that OpenVINO holds answer as their originals do, in 32 bits, at any shape and number of threads."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from modelyard.errors import BootFailed
from modelyard.jobs.forms import MOST_DIFFERENCE
from tests.builders import openvino


@pytest.mark.verify(part="variants")
@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("bert_classifier", "text-classification"),
        ("sentence_transformer", "sentence-similarity"),
        ("distilbert_qa", "question-answering"),
        ("vit_classifier", "image-classification"),
    ],
)
def test_answers_are_the_originals_but_for_rounding(
    model_folder: Callable[[str], Path], tmp_path: Path, family: str, task: str
) -> None:
    found = openvino.make(model_folder(family), task, tmp_path / "made")
    assert found.versions["openvino"]
    assert 0 < found.difference <= MOST_DIFFERENCE
    assert all(0 < each <= MOST_DIFFERENCE for each in found.differences), found.differences
    assert len(set(found.differences)) > 1


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Ours, without the library that it holds models with."""
    name = "modelyard.worker.runtimes.openvino"
    monkeypatch.setitem(sys.modules, "openvino", ModuleType("openvino"))
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "")
    yield importlib.import_module(name)
    del sys.modules[name]


def test_a_variant_on_a_gpu_is_refused_by_its_name(runtime: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(BootFailed, match="cuda:0 was asked for, but OpenVINO variants run on the CPU only"):
        runtime.load_model(tmp_path, ("sequence-classification",), device="cuda:0")
