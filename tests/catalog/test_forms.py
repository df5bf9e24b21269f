"""What replicas of a model load, where there is a variant of it: a variant of these very files, or the model itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.forms import check_installed, mark_of
from modelyard.catalog.library import NO_OPENVINO
from modelyard.errors import InvalidRequest
from modelyard.records.models import Form, Measurement, ModelCard
from modelyard.records.runtimes import Runtimes, read_runtimes
from modelyard.records.variants import VariantKind
from tests.catalog.models import model, write
from tests.catalog.test_variants import MANIFEST

MODEL, VARIANT, OPENVINO = "org/name", "org/name.onnx", "org/name.openvino"
CHOSEN = Measurement(200_000_000, form=Form("onnx", "twice as fast"))


async def choose(
    root: Path,
    measured: Mapping[str, Measurement],
    *runtimes: str,
    mark: str | None = "its own",
    whole: bool = True,
    kind: VariantKind = "onnx",
) -> tuple[ModelCard, ModelCard]:
    """The card of a model beside its variant, and of what is loaded in its place."""
    folder = write(root / MODEL, model("BertForSequenceClassification", "bert"))

    def learned(ids: Sequence[str]) -> Mapping[str, Measurement]:
        return {each: measured[each] for each in ids if each in measured}

    catalog = Catalog(Folders([root]), learned=learned, runtimes=read_runtimes(runtimes))
    card = await catalog.get(MODEL)
    files = model("BertForSequenceClassification", "bert")
    del files["model.safetensors"]
    graph = {"model.onnx": b"g" * 10, "model.onnx.data": b"w" * 90} if whole else {"model.onnx.data": b"w"}
    variant = write(root / f"{MODEL}.{kind}", {**files, **graph})
    own = mark_of(card) if mark == "its own" else mark
    msgspec.structs.replace(MANIFEST, kind=kind, quality=(), original_mark=own).write(variant)
    await catalog.find(f"{MODEL}.{kind}")
    assert folder == card.path
    return card, catalog.form_of(card)


async def test_the_variant_that_was_measured_to_be_faster_is_loaded_under_the_models_name(root: Path) -> None:
    measured = {MODEL: CHOSEN, VARIANT: Measurement(150_000_000, max_batch=4)}
    card, form = await choose(root, measured)
    assert (card.inspection.runtime, form.inspection.runtime) == ("transformers", "onnx")
    assert (form.model_id, form.path, form.memory_bytes, form.max_batch) == (MODEL, root / VARIANT, 150_000_000, 4)


async def test_what_is_loaded_has_no_more_threads_than_were_measured_to_pay(root: Path) -> None:
    for variant, path in (("onnx", root / VARIANT), (None, root / MODEL)):
        chosen = Measurement(200_000_000, form=Form(variant, "faster", threads=1))
        _, form = await choose(root, {MODEL: chosen, VARIANT: Measurement(150_000_000)})
        assert (form.path, form.max_threads) == (path, 1)
        card, form = await choose(root, {MODEL: chosen, VARIANT: Measurement(150_000_000)}, "original")
        assert form is card


async def test_without_a_measurement_the_model_is_loaded_as_it_is(root: Path) -> None:
    card, form = await choose(root, {MODEL: Measurement(200_000_000)})
    assert form is card


async def test_a_variant_of_files_that_have_changed_since_is_not_loaded(root: Path) -> None:
    card, form = await choose(root, {MODEL: CHOSEN, VARIANT: Measurement(150_000_000)}, mark="of others")
    assert form is card
    card, form = await choose(root, {MODEL: CHOSEN, VARIANT: Measurement(150_000_000)}, mark=None)
    assert form is card


async def test_any_change_of_the_files_is_one(root: Path) -> None:
    folder = write(root / MODEL, model())
    card = await Catalog(Folders([root])).get(MODEL)
    before = mark_of(card)
    os.utime(folder / "tokenizer.json", ns=(1, 1))
    assert None not in (before, mark_of(card))
    assert before != mark_of(card)


async def test_a_variant_that_is_not_whole_is_not_loaded(root: Path) -> None:
    card, form = await choose(root, {MODEL: CHOSEN, VARIANT: Measurement(150_000_000)}, whole=False)
    assert form is card


async def test_a_variant_that_needs_more_memory_is_not_loaded(root: Path) -> None:
    card, form = await choose(root, {MODEL: CHOSEN, VARIANT: Measurement(200_000_001, weight_bytes=100)})
    assert form is card


async def test_the_operators_word_counts_for_more_than_a_measurement(root: Path) -> None:
    measured = {MODEL: CHOSEN, VARIANT: Measurement(150_000_000)}
    card, form = await choose(root, measured, "original")
    assert form is card
    card, form = await choose(root, {VARIANT: Measurement(1, weight_bytes=100)}, f"{MODEL}=onnx")
    assert form.path == root / VARIANT


async def test_a_variant_for_openvino_is_loaded_where_that_is_installed(root: Path, openvino: None) -> None:
    chosen = {MODEL: Measurement(200_000_000, form=Form("openvino", "faster")), OPENVINO: Measurement(150_000_000)}
    _, form = await choose(root, chosen, kind="openvino")
    assert (form.inspection.runtime, form.path) == ("openvino", root / OPENVINO)
    assert check_installed(read_runtimes([f"{MODEL}=openvino"])).of(MODEL) == "openvino"


async def test_and_where_it_is_not_the_model_as_it_is(root: Path, no_openvino: None) -> None:
    chosen = {MODEL: Measurement(200_000_000, form=Form("openvino", "faster")), OPENVINO: Measurement(150_000_000)}
    card, form = await choose(root, chosen, kind="openvino")
    assert form is card
    refused = await Catalog(Folders([root])).get(OPENVINO)
    assert "pip install 'modelyard[openvino]'" in NO_OPENVINO
    assert refused.refusal == f"{OPENVINO} needs {NO_OPENVINO}."
    with pytest.raises(InvalidRequest) as raised:
        check_installed(Runtimes(by_model={MODEL: "openvino"}))
    assert raised.value.message == f"runtime: got {MODEL}=openvino, which needs {NO_OPENVINO}."
