"""image-segmentation: the pipeline's masks, in the size of the image as sent."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.pictures import SIZES, picture, to_base64, turned
from tests.builders.reference import library_model

TASK = get_task("image-segmentation")
UNIVERSAL = ["mask2former", "maskformer", "detr_panoptic"]
LOW = {"threshold": 0.1, "overlap_mask_area_threshold": 0.0, "mask_threshold": 0.1}


@pytest.fixture
def segformer(load: Load) -> Model:
    return load("segformer", "semantic-segmentation")


@pytest.fixture(params=UNIVERSAL)
def universal(request: pytest.FixtureRequest, load: Load) -> Model:
    return load(request.param, "universal-segmentation")


def mask_of(row: Any) -> Any:
    mask = Image.open(io.BytesIO(base64.b64decode(row["mask_png"])))
    assert mask.mode == "L"
    return np.asarray(mask)


def assert_same(answer: Any, expected: Any, *, scored: Any = True) -> None:
    assert [row["label"] for row in answer] == [row["label"] for row in expected]
    for row, other in zip(answer, expected, strict=True):
        mask = other["mask"] if "mask" in other else Image.fromarray(mask_of(other))
        assert np.array_equal(mask_of(row), np.asarray(mask))
        if scored:
            assert row["score"] == pytest.approx(other["score"], abs=1e-4)


def pipeline(model: Model) -> Any:
    return transformers.pipeline("image-segmentation", model=str(model.path))


@pytest.mark.parametrize("size", SIZES)
def test_semantic_masks_are_the_pipelines(segformer: Model, ask: Ask, size: Any) -> None:
    image = picture(size)
    answer = ask(TASK, segformer, {"base64": to_base64(image)})
    assert_same(answer, pipeline(segformer)(image), scored=False)
    assert sum(mask_of(row).astype(int) for row in answer).tolist() == np.full(size[::-1], 255).tolist()


def test_semantic_score_is_the_mean_probability_of_the_label_in_its_mask(segformer: Model, ask: Ask) -> None:
    image = picture((64, 64))
    library = library_model("AutoModelForSemanticSegmentation", segformer.path)
    with torch.inference_mode():
        logits = library(**segformer.processor(image, return_tensors="pt")).logits
    chances = torch.nn.functional.interpolate(logits, size=(64, 64), mode="bilinear").softmax(1)[0].numpy()
    answer = ask(TASK, segformer, {"base64": to_base64(image)})
    assert len(answer) > 1
    for row in answer:
        inside = chances[library.config.label2id[row["label"]]][mask_of(row) > 0]
        assert row["score"] == pytest.approx(inside.mean(), abs=0.1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subtask", ["panoptic", "instance", "semantic"])
def test_universal_masks_are_the_pipelines(universal: Model, ask: Ask, size: Any, subtask: str) -> None:
    image = picture(size)
    answer = ask(TASK, universal, {"base64": to_base64(image), "params": {"subtask": subtask, **LOW}})
    expected = pipeline(universal)(image, subtask=subtask, **LOW)
    assert answer
    assert_same(answer, expected, scored=subtask != "semantic")
    assert all(0 <= row["score"] <= 1 for row in answer)
    assert {mask_of(row).shape for row in answer} == {size[::-1]}


@pytest.mark.parametrize("size", SIZES)
def test_an_image_that_is_seen_in_pieces_has_the_librarys_labels(load: Load, ask: Ask, size: Any) -> None:
    model, image = load("eomt_semantic", "universal-segmentation"), picture(size)
    library = library_model("AutoModelForUniversalSegmentation", model.path)
    inputs = model.processor(image, return_tensors="pt")
    assert len(inputs["pixel_values"]) == (1 if size[0] == size[1] else 2)
    with torch.inference_mode():
        outputs = library(**inputs)
    (labels,) = model.processor.post_process_semantic_segmentation(outputs, [size[::-1]])
    answer = ask(TASK, model, {"base64": to_base64(image)})
    assert {row["label"] for row in answer} == {library.config.id2label[label] for label in labels.unique().tolist()}
    for row in answer:
        assert np.array_equal(mask_of(row) > 0, labels.numpy() == library.config.label2id[row["label"]])
        assert 0 <= row["score"] <= 1


def test_what_sees_in_pieces_tells_no_instances(load: Load, ask: Ask) -> None:
    body = {"base64": to_base64(picture()), "params": {"subtask": "instance"}}
    error = ask(TASK, load("eomt_semantic", "universal-segmentation"), body)
    assert (error.data["field"], error.data["accepted"]) == ("params.subtask", "what this model offers: semantic")


@pytest.mark.parametrize("size", SIZES)
def test_eomts_instances_are_the_librarys(load: Load, ask: Ask, size: Any) -> None:
    model, image = load("eomt", "universal-segmentation"), picture(size)
    library = library_model("AutoModelForUniversalSegmentation", model.path)
    with torch.inference_mode():
        outputs = library(**model.processor(image, return_tensors="pt"))
    (expected,) = model.processor.post_process_instance_segmentation(outputs, [size[::-1]], threshold=0.05)
    answer = ask(TASK, model, {"base64": to_base64(image), "params": {"subtask": "instance", "threshold": 0.05}})
    assert answer
    assert [row["score"] for row in answer] == pytest.approx([one["score"] for one in expected["segments_info"]])
    for row, one in zip(answer, expected["segments_info"], strict=True):
        assert np.array_equal(mask_of(row) > 0, expected["segmentation"].numpy() == one["id"])


def test_panoptic_is_what_a_universal_model_does_unless_told(universal: Model, ask: Ask) -> None:
    body = {"base64": to_base64(picture())}
    panoptic = ask(TASK, universal, {**body, "params": {**LOW, "subtask": "panoptic"}})
    assert_same(ask(TASK, universal, {**body, "params": LOW}), panoptic)


def test_nothing_certain_enough_is_an_empty_list(universal: Model, ask: Ask) -> None:
    assert ask(TASK, universal, {"base64": to_base64(picture()), "params": {"threshold": 1.0}}) == []


def test_subtask_the_model_does_not_offer_is_named(segformer: Model, ask: Ask) -> None:
    error = ask(TASK, segformer, {"base64": to_base64(picture()), "params": {"subtask": "instance"}})
    assert error.data["field"] == "params.subtask"
    assert "semantic" in error.message


def test_batch_of_many_shapes_answers_as_one_by_one(segformer: Model, universal: Model, ask: Ask) -> None:
    for model in (segformer, universal):
        bodies = [{"base64": to_base64(picture(size, seed)), "params": LOW} for seed, size in enumerate(SIZES * 2)]
        for one, alone in zip(ask(TASK, model, *bodies), [ask(TASK, model, body) for body in bodies], strict=True):
            assert_same(one, alone)


def test_masks_are_those_of_the_upright_image(segformer: Model, ask: Ask) -> None:
    image = picture((41, 73))
    assert_same(ask(TASK, segformer, {"base64": turned(image)}), ask(TASK, segformer, {"base64": to_base64(image)}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("subtask", "all"), ("threshold", 2), ("mask_threshold", -1), ("overlap_mask_area_threshold", "some")],
)
def test_wrong_params_are_named(name: str, value: int | str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, {"base64": "AAAA", "params": {name: value}})
    assert raised.value.data["field"] == f"params.{name}"
