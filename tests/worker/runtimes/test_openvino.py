"""Variants that OpenVINO holds answer as their originals do, in 32 bits, at any shape and number of threads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
