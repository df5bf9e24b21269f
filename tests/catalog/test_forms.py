"""What replicas of a model load, where there is a variant of it: a variant of these very files, or the model itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.forms import mark_of
from modelyard.records.models import Form, Measurement, ModelCard
from modelyard.records.runtimes import read_runtimes
from tests.catalog.models import model, write
from tests.catalog.test_variants import MANIFEST

MODEL, VARIANT = "org/name", "org/name.onnx"
CHOSEN = Measurement(200_000_000, form=Form("onnx", "twice as fast"))


async def choose(
    root: Path, measured: Mapping[str, Measurement], *runtimes: str, mark: str | None = "its own", whole: bool = True
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
    variant = write(root / VARIANT, {**files, **graph})
    own = mark_of(card) if mark == "its own" else mark
    msgspec.structs.replace(MANIFEST, kind="onnx", quality=(), original_mark=own).write(variant)
    await catalog.find(VARIANT)
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
