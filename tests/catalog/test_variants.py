"""ONNX variants in models folders: recognised by what was written down when they were made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelyard.catalog.cards import make_card
from modelyard.catalog.folders import Folders
from modelyard.catalog.index import listing_of
from modelyard.catalog.inspection import inspect_folder
from modelyard.gateway.shapes.models import show_model
from modelyard.records.variants import Figure, Manifest
from tests.catalog.models import model, write

MANIFEST = Manifest(
    variant_of="org/name", kind="onnx.8-bit", task="text-classification", head="sequence-classification",
    parameters=1234, logit_error=1e-6, bound=0.001, versions={}, max_length=64,
    quality=(Figure("label_agreement", 0.99, 0.97, at_least=True),),
)  # fmt: skip


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    """A variant's folder, as far as the catalogue looks into it."""
    files = model("BertForSequenceClassification", "bert", readme="---\nlicense: mit\n---\n")
    del files["model.safetensors"]
    folder = write(
        tmp_path / "org" / "name.onnx.8-bit", {**files, "model.onnx": b"g" * 10, "model.onnx.data": b"w" * 90}
    )
    MANIFEST.write(folder)
    return folder


def test_a_variant_is_a_model_of_the_onnx_runtime(variant: Path) -> None:
    found = Folders([variant.parents[1]]).find("org/name.onnx.8-bit")

    assert found is not None
    card = make_card(found)
    assert (card.inspection.runtime, card.inspection.library, card.task) == ("onnx", "onnx", "text-classification")
    assert (
        card.inspection.parameters,
        card.inspection.weight_bytes,
        card.inspection.dtype,
        card.inspection.max_length,
    ) == (1234, 100, "I8", 64)
    assert (card.inspection.license, card.inspection.architecture) == ("mit", "BertForSequenceClassification")
    assert card.inspection.quality == {"label_agreement": 0.99}
    assert card.refusal is None
    assert found.inspection.weight_files == ("model.onnx", "model.onnx.data")


def test_a_variant_reads_no_more_than_its_original_is_told_to(variant: Path) -> None:
    (variant / "modules.json").write_text("[]")
    (variant / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    assert inspect_folder(variant).max_length == 32


@pytest.mark.parametrize(
    ("missing", "words"),
    [("model.onnx", "there is no model.onnx"), ("model.onnx.data", "model.onnx.data, which holds its weights")],
)
def test_a_variant_that_is_not_whole_is_refused_with_the_remedy(variant: Path, missing: str, words: str) -> None:
    (variant / missing).unlink()

    problem = inspect_folder(variant).problem

    assert problem is not None
    assert words in problem
    assert "make the variant again" in problem


def test_a_damaged_manifest_is_said_so(variant: Path) -> None:
    (variant / "variant.json").write_text('{"kind": 1}')

    assert "variant.json is not what a variant has" in (inspect_folder(variant).problem or "")


def test_a_graph_without_a_manifest_is_a_model_that_was_exported_elsewhere(variant: Path) -> None:
    (variant / "variant.json").unlink()

    found = inspect_folder(variant)

    assert (found.library, found.exported, found.task, found.problem) == ("onnx", True, "text-classification", None)


@pytest.mark.parametrize(
    ("file", "is_warned_of"),
    [
        ("model_int8.onnx", True), ("model_quantized.onnx", True), ("model_qint8_avx512.onnx", True),
        ("model_fp16.onnx", False), ("model_q4.onnx", False),
    ],
)  # fmt: skip
def test_a_graph_that_rounds_what_it_multiplies_comes_with_a_warning(
    variant: Path, file: str, is_warned_of: bool
) -> None:
    (variant / "variant.json").unlink()
    (variant / "model.onnx").rename(variant / file)
    found = Folders([variant.parents[1]]).find(f"org/{variant.rename(variant.with_name('exported')).name}")
    assert found is not None
    card = make_card(found)

    shown = show_model(listing_of(card, datetime.now(UTC)), (), 0.0, None)

    assert (shown.warning is not None) == is_warned_of
    assert shown.warning == card.inspection.warning
    assert shown.error is None


def test_what_the_program_makes_is_recognised(variant_folder: Callable[..., Path]) -> None:
    found = inspect_folder(variant_folder("bert_classifier", "text-classification", "onnx.8-bit"))

    assert (found.library, found.task, found.parameters, found.problem) == ("onnx", "text-classification", 33219, None)
