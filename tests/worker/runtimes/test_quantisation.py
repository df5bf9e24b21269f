"""Which matrices have scales for blocks: those whose inputs one scale is too coarse for, and no more than it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelyard.records.variants import ExportOrder, read_manifest
from modelyard.worker.runtimes.quantisation import coarseness, plan_blocks
from modelyard.worker.variants import make_variant

SUMMED = {"a": 0.5, "b": 0.03, "c": 0.02, "d": 0.01}


@pytest.mark.parametrize(
    ("most", "blocks"), [(1.0, ""), (0.56, ""), (0.1, "a"), (0.07, "a"), (0.04, "ab"), (0.0, "abcd")]
)
def test_the_coarsest_go_first_until_the_others_are_fine_enough(most: float, blocks: str) -> None:
    assert plan_blocks(SUMMED, most) == {*blocks}


def test_one_large_value_makes_all_others_coarse() -> None:
    plain = np.random.default_rng(0).normal(size=(1, 50, 64))
    assert coarseness(plain) < 0.001
    plain[0, 3, 7] = 200.0
    assert coarseness(plain) > 0.04
    assert coarseness(np.zeros((1, 2, 3))) == 0.0


@pytest.mark.verify(part="variants")
@pytest.mark.timeout(400)
def test_a_model_with_outliers_is_made_within_its_bounds_by_blocks(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Trained models have single values hundreds of times as large as all others, at few tokens; random ones do not."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(model_folder("bert_encoder"))
    for layer in model.encoder.layer:
        before = layer.intermediate.dense
        deviation = float(before.weight.data[3].norm())  # of what it makes of normalised values
        before.weight.data[3] *= 2000
        before.bias.data[3] = -2000 * 1.5 * deviation  # so that few tokens pass
        layer.output.dense.weight.data[:, 3] /= 2000
    model.save_pretrained(tmp_path / "outliers")
    AutoTokenizer.from_pretrained(model_folder("bert_encoder")).save_pretrained(tmp_path / "outliers")

    facts = make_variant(
        ExportOrder(
            path=str(tmp_path / "outliers"),
            task="feature-extraction",
            kind="onnx.8-bit",
            target=str(tmp_path / "made"),
            model_id="tests/outliers",
        ),
        lambda _step, _message: None,
    )

    assert 0 < facts["in_blocks"] < facts["matrices"]
    assert all(figure.holds for figure in read_manifest(tmp_path / "made").quality)
